// What a person can do to an instance, and the question that is asked before.
import {el} from './dom.js';
import {isFinished} from './format.js';

const at = (data) => (data.step ? ` at ${data.step}` : '');
const parkedAtALimit = (data) => data.waits_for === 'circuit' && /^(rate|slot) /.test(data.waits_detail ?? '');

export const offers = {
  'retry-now': {
    label: 'Retry now', title: 'Make the next attempt now?', yes: 'Retry now',
    fits: (data) => data.state === 'sleeping' && data.waits_for === 'retry',
    text: (data) => [`The next attempt${at(data)} begins at once instead of at its time. Attempts (${
      data.attempts} so far) and the time that is allowed go on counting.`],
    done: () => 'The next attempt begins.',
  },
  'resume': {
    label: 'Resume', title: 'Resume this instance?', yes: 'Resume',
    fits: (data) => data.error_code !== 'log_damaged' && (data.state === 'stuck' || data.state === 'sleeping' &&
      (data.waits_for === 'retry' || data.waits_for === 'circuit' && !parkedAtALimit(data))),
    text: (data) => [`It goes on${at(data)} now, with fresh attempts. Steps that are finished are not run again.`,
      data.error_code === 'in_doubt' ? 'Its last attempt may have happened all the same. Look at the provider first: resuming it repeats the step.' : null],
    done: () => 'Resumed: a worker takes it up.',
  },
  'cancel': {
    label: 'Cancel instance', title: 'Cancel this instance?', yes: 'Cancel it', dangerous: true,
    fits: (data) => !isFinished(data.state) && !data.cancel_requested_at,
    text: (data) => ['It ends for good and cannot be resumed.', data.state === 'running' ? 'It is running: it ends before its next step.' : null,
      'What was done stays done, unless a step names how it is taken back: then that is carried out first.'],
    done: (answer) => (answer.cancelled ? 'Cancelled.' : 'Asked to end: it ends before its next step.'),
  },
};

// Resolves to {reason} for yes, to null for no.
export function confirm(name, data) {
  const offer = offers[name], dialog = document.getElementById('confirm'), part = (id) => document.getElementById(id);
  part('confirm-title').textContent = offer.title;
  part('confirm-text').replaceChildren(el('p', {class: 'id'}, data.id),
    ...offer.text(data).filter(Boolean).map((text) => el('p', {}, text)));
  part('confirm-yes').textContent = offer.yes;
  part('confirm-yes').className = offer.dangerous ? 'danger' : 'primary';
  part('confirm-reason').hidden = name !== 'cancel';
  part('reason').value = '';
  dialog.returnValue = '';
  dialog.showModal();
  part('confirm-no').focus();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(
      dialog.returnValue === 'yes' ? {reason: part('reason').value.trim()} : null), {once: true});
  });
}
