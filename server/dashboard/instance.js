// One instance: what comes next and what a person can do, its timeline, what it was given and gave.
import {ask, errorHelp, instancePath} from './api.js';
import {el, prose, say, slot} from './dom.js';
import {confirm, offers} from './actions.js';
import {ago, badge, count, exact, instanceLink, isFinished, listLink, plural, withTimes} from './format.js';
import {timeline} from './timeline.js';

const headlines = {
  stuck: 'Waits for a person', running: 'A worker runs it', pending: 'Waits for a worker',
  queued: 'Queues for its key', completed: 'Completed', failed: 'Failed', cancelled: 'Cancelled',
};
const waits = {
  retry: 'Waits for its next attempt', circuit: 'Parked', timer: 'Sleeps', signal: 'Waits for a signal',
  child: 'Waits for another instance', once: 'Waits for another instance', pause: 'Paused',
};

// The sentence begins with the id, which stands above already, holds the error, which stands below,
// and ends in a command.
function sentence({why, id, command, code, text: error}) {
  let text = why.startsWith(`${id} `) ? why.slice(id.length + 1) : why;
  if (command && text.endsWith(command)) text = text.slice(0, -command.length);
  if (code && error) text = text.replace(` (${code}: ${error})`, '');
  text = text.charAt(0).toUpperCase() + text.slice(1);
  return [withTimes(text), command ? el('code', {}, command) : null];
}

function standing(data) {
  return [el('h2', {}, waits[data.waits_for] && !isFinished(data.state) && data.state !== 'stuck' && data.state !== 'queued'
    ? waits[data.waits_for] : headlines[data.state] ?? data.state,
  data.next_at && !isFinished(data.state) ? [' · ', ago(data.next_at)] : null),
  el('p', {}, sentence(data))];
}

function error({code, text, help}) {
  if (!code && !text) return null;
  return el('div', {class: 'error'},
    el('p', {}, code ? [el('code', {}, code), ' '] : null, text ?? ''),
    help ? el('details', {'data-key': 'help'}, el('summary', {'data-key': 'help-summary'}, `What ${code} means`),
      el('p', {}, prose(help))) : null);
}

function facts(data) {
  const fact = (name, value) => (value === null || value === undefined || value === '' ? null
    : el('div', {}, el('dt', {}, name), el('dd', {}, value)));
  return el('dl', {class: 'facts'},
    fact('Workflow', [el('a', {href: listLink({workflow: data.workflow}), 'data-key': 'workflow'}, data.workflow),
      ` version ${data.version}`]),
    fact('Key', data.key && el('a', {href: listLink({key: data.key}), 'data-key': 'key'}, data.key)),
    fact('Stands at', data.step), fact('Attempts', data.attempts ? count(data.attempts) : null),
    fact('Accepted', ago(data.created_at)), fact('Changed', ago(data.updated_at)),
    fact('Ended', data.finished_at && ago(data.finished_at)), fact('Due', data.due_at && ago(data.due_at)),
    fact('Deadline', data.deadline_at && ago(data.deadline_at)),
    fact('Asked to end', data.cancel_requested_at && ago(data.cancel_requested_at)),
    fact('Behind it', data.queued_behind ? plural(data.queued_behind, 'instance') : null),
    fact('Priority', data.priority || null), fact('Deaths in a row', data.deaths || null),
    fact('Event', data.event && [data.event.type, ' ', el('span', {class: 'muted'}, data.event.id)]),
    fact('Customer', data.event?.subject && el('a', {href: listLink({text: data.event.subject}), 'data-key': 'customer'}, data.event.subject)));
}

function payload(title, value) {
  if (value === null || value === undefined) return null;
  return el('details', {'data-key': title, class: 'payload'}, el('summary', {'data-key': `${title}-summary`}, title),
    el('pre', {tabindex: 0, 'aria-label': title}, JSON.stringify(value, null, 2)));
}

function payloads({input, output, published}) {
  return [payload('Output', output), payload('Published', Object.keys(published).length ? published : null),
    payload('Input', input)];
}

function warnings({damage, near}) {
  return [damage ? el('p', {class: 'notice bad', role: 'alert'}, `Its log does not verify: ${damage}. Nothing is called; restore a backup.`) : null,
    near.map((one) => el('p', {class: 'notice warn'}, one))];
}

function runs({list, id}) {
  if (list.length < 2) return null;
  return el('section', {class: 'panel', 'aria-labelledby': 'runs-title'}, el('h2', {id: 'runs-title'}, 'Runs'),
    el('ul', {class: 'runs'}, list.map((run) => el('li', {}, badge(run.state), ' ', run.id === id ? el('strong', {}, run.id)
      : el('a', {href: instanceLink(run.id), 'data-key': run.id}, run.id), ' ', ago(run.created_at)))));
}

export function instanceView(id) {
  let data = null, gone = false, ended = false;

  const heading = el('h1', {class: 'id'}, id), state = slot('state-slot', badge);
  const slots = {
    problem: slot('', (text) => (text ? el('p', {class: 'notice bad', role: 'alert'}, text) : null)),
    warnings: slot('', warnings), standing: slot('standing', standing), error: slot('', error),
    actions: slot('actions', (names) => names.map((name) => el('button', {type: 'button', 'data-key': name,
      class: offers[name].dangerous ? 'danger' : name === names[0] ? 'primary' : null, onclick: () => act(name)}, offers[name].label))),
    facts: slot('', facts), timeline: slot('', timeline), payloads: slot('', payloads), runs: slot('', runs),
  };
  const panel = el('section', {class: 'panel', 'aria-label': 'What comes next'}, slots.standing.node, slots.error.node, slots.actions.node);
  const log = el('section', {class: 'panel', 'aria-labelledby': 'log-title'}, el('h2', {id: 'log-title'}, 'Timeline'), slots.timeline.node);
  const about = el('section', {class: 'panel', 'aria-labelledby': 'about-title'}, el('h2', {id: 'about-title'}, 'About'), slots.facts.node, slots.payloads.node);
  const body = el('div', {class: 'instance-body', hidden: true}, el('div', {class: 'left'}, panel, log),
    el('div', {class: 'right'}, about, slots.runs.node));
  const node = el('div', {class: 'instance'},
    el('p', {class: 'crumbs'}, el('a', {href: '#/instances'}, 'Instances'), ' /'),
    el('div', {class: 'title'}, heading, state.node), slots.problem.node, slots.warnings.node, body);

  const view = {title: id, section: 'instances', node, refresh, fail, live: () => !gone && !ended};

  async function act(name) {
    const answer = await confirm(name, data);
    if (!answer) return;
    try {
      const done = await ask(`${instancePath(data.id)}/${name}`, {method: 'POST',
        body: name === 'cancel' && answer.reason ? {reason: answer.reason} : undefined});
      say(offers[name].done(done));
    } catch (failure) {
      say(failure.status === 429 ? `Too many changes: try again in ${failure.retryAfter} s.`
        : failure.status ? `Not done: ${failure.message}.` : 'Not done: the server does not answer.', true);
    }
    view.again();
  }

  function fail(failure) {
    if (failure.status !== 404 && failure.status !== 400) return;
    gone = true;
    body.hidden = true;
    slots.problem.show(failure.status === 404 ? 'There is no such instance (any more).' : failure.message);
  }

  async function refresh(signal) {
    data = await ask(instancePath(id), {signal});
    const help = data.error_code ? await errorHelp(data.error_code) : null;
    ended = isFinished(data.state);
    body.hidden = false;
    heading.textContent = data.id;
    heading.title = exact(data.created_at);
    state.show(data.state);
    slots.problem.show('');
    slots.warnings.show({damage: data.log_damage, near: data.near_limits});
    slots.standing.show({id: data.id, why: data.why, next_at: data.next_at, command: data.command, state: data.state,
      waits_for: data.waits_for, code: data.error_code, text: data.error});
    slots.error.show({code: data.error_code, text: data.error, help});
    slots.actions.show(Object.keys(offers).filter((name) => offers[name].fits(data)));
    slots.timeline.show({log: data.log, next: data.next, next_at: data.next_at, state: data.state, step: data.step});
    const {event} = data;
    slots.facts.show({workflow: data.workflow, version: data.version, key: data.key, step: data.step, attempts: data.attempts,
      created_at: data.created_at, updated_at: data.updated_at, finished_at: data.finished_at, due_at: data.due_at,
      deadline_at: data.deadline_at, cancel_requested_at: data.cancel_requested_at, queued_behind: data.queued_behind,
      priority: data.priority, deaths: data.deaths, event: event && {type: event.type, id: event.id, subject: event.subject}});
    slots.payloads.show({input: data.input, output: data.output, published: data.published});
    slots.runs.show({list: data.runs, id: data.id});
  }
  return view;
}
