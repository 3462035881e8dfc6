// The step log as a timeline: an attempt's beginning and its outcome are one line, and the last line
// is what comes next.
import {el} from './dom.js';
import {ago, clockTime, exact, isFinished, span, withTimes} from './format.js';

const outcomes = {completed: 'good', skipped: 'good', undone: 'good', retried: 'warn', failed: 'bad', stuck: 'bad', cancelled: 'bad'};
const endings = ['completed', 'retried', 'failed', 'skipped', 'undone'];

// [{at, ended, step, attempt, kind, data, request}], in the order in which things began.
function items(log) {
  const found = [];
  for (const entry of log) {
    if (entry.kind === 'started') {
      found.push({at: entry.at, step: entry.step, attempt: entry.attempt, kind: 'started', request: entry.data, data: {}});
      continue;
    }
    const begun = endings.includes(entry.kind) && found.findLast((one) => one.kind === 'started' && one.step === entry.step);
    if (begun) Object.assign(begun, {kind: entry.kind, ended: entry.at, data: entry.data});
    else found.push({at: entry.at, step: entry.step, attempt: entry.attempt, kind: entry.kind, data: entry.data});
  }
  return found;
}

function words(one) {
  const {kind, step, data} = one;
  const name = step ? el('strong', {}, step) : null;
  switch (kind) {
    case 'started': return [name, ' is under way'];
    case 'completed': return [name, data.adopted ? ' done already: found and taken over' : ' done'];
    case 'skipped': return [name, ' taken as done by ', data.by ?? 'a person'];
    case 'retried': return [name, data.interrupted ? ' interrupted by a shutdown' : data.outcome === 'unknown' ? ' in doubt, tried again' : ' not done, tried again'];
    case 'failed': return [name, ' refused for good'];
    case 'undone': return [name, ' taken back'];
    case 'stuck': return ['Stuck', name ? [' at ', name] : null];
    case 'resumed': return ['Resumed', name ? [' at ', name] : null, data.by ? ` by ${data.by}` : null];
    case 'cancelled': return ['Cancelled', data.by ? ` by ${data.by}` : null];
    case 'timer': return [name ?? 'Timer', ' sleeps'];
    case 'signal': return ['Signal ', name];
    case 'child': return ['Child ', name];
    case 'published': return ['Published ', name];
    case 'key': return 'Took another key';
    case 'moved': return 'Moved to another version';
    default: return [name, ` ${kind}`];
  }
}

function details(one, number) {
  const shown = {...one.data};
  if (one.kind !== 'resumed') for (const name of ['code', 'error', 'delay_ms']) delete shown[name];
  for (const name of ['reason', 'by']) delete shown[name];
  const request = one.request && Object.keys(one.request).length ? {intent: one.request} : {};
  const all = {...request, ...shown};
  if (Object.keys(all).length === 0) return null;
  return el('details', {'data-key': `entry-${number}`}, el('summary', {'data-key': `entry-${number}-summary`}, 'Details'),
    el('pre', {tabindex: 0, 'aria-label': 'Details'}, JSON.stringify(all, null, 2)));
}

function line(one, number, all) {
  const took = one.ended ? Date.parse(one.ended) - Date.parse(one.at) : null;
  const told = ['retried', 'failed', 'stuck', 'cancelled'].includes(one.kind);
  const {code, error, delay_ms: delay} = told ? one.data : {};
  // What made it stuck stands in the line before, as a rule.
  const again = one.kind === 'stuck' && all[number - 1]?.data.error === error;
  return el('li', {class: outcomes[one.kind] ?? (one.kind === 'started' ? 'open' : '')},
    el('time', {datetime: one.at, title: exact(one.at)}, clockTime(one.at)),
    el('div', {class: 'what'},
      el('p', {}, words(one), one.attempt > 1 ? el('span', {class: 'muted'}, ` · attempt ${one.attempt}`) : null,
        took === null ? null : el('span', {class: 'muted'}, ` · ${span(took)}`),
        delay ? el('span', {class: 'muted'}, ` · next after ${span(delay)}`) : null),
      (code || error) && !again ? el('p', {class: 'entry-error'}, code ? [el('code', {}, String(code)), ' '] : null, error ? String(error) : null) : null,
      one.data.reason ? el('p', {class: 'entry-error'}, `Reason: ${one.data.reason}`) : null,
      details(one, number)));
}

export function timeline({log, next, next_at: nextAt, state, step}) {
  const last = isFinished(state) ? null : el('li', {class: 'next'},
    nextAt ? el('time', {datetime: nextAt, title: exact(nextAt)}, clockTime(nextAt)) : el('span', {class: 'muted'}, 'next'),
    el('div', {class: 'what'}, el('p', {}, next ? withTimes(next.charAt(0).toUpperCase() + next.slice(1)) : state === 'stuck'
      ? `Nothing by itself: it goes on${step ? ` at ${step}` : ''} when it is resumed` : 'Nothing by itself'),
    nextAt && !next ? el('p', {class: 'muted'}, ago(nextAt)) : null));
  if (log.length === 0 && !last) return el('p', {class: 'muted'}, 'Its log is empty.');
  return el('ol', {class: 'timeline'}, items(log).map(line), last);
}
