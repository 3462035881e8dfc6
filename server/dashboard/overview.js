// The first view: is anything wrong, and how well and how fast has it gone lately?
import {ask} from './api.js';
import {el, slot} from './dom.js';
import {ago, badge, clockTime, count, listLink, now, plural, rough, setServerTime, span, states} from './format.js';

const waitingTooLongMs = 15 * 60 * 1000, lateMs = 60 * 1000;
const none = {class: 'muted'};

const sum = (numbers) => numbers.reduce((total, one) => total + one, 0);

function troubles(data) {
  const found = [];
  const add = (kind, ...text) => found.push(el('li', {class: kind}, ...text));
  for (const one of data.breakers) {
    if (one.state === 'closed') continue;
    const paused = one.paused_at;
    add('bad', el('strong', {}, one.provider), paused ? ' is paused, since ' : ' is out of order, since ',
      ago(paused || one.opened_at), one.reason ? [' (', el('code', {}, one.reason), ')'] : null,
      `; ${plural(one.parked, 'instance')} parked`,
      one.next_at ? ['; tried again ', ago(one.next_at)] : null, '.');
  }
  for (const one of data.paused)
    add('warn', 'The workflow ', el('strong', {}, one.workflow), ' is paused, since ', ago(one.since),
      `; ${plural(one.held, 'instance')} held. `, el('code', {}, `workflow-admin unpause --workflow ${one.workflow}`));
  if (data.stuck > 0)
    add('bad', el('a', {href: listLink({state: 'stuck'}), 'data-key': 'stuck'},
      plural(data.stuck, 'instance')), data.stuck === 1 ? ' waits' : ' wait',
    ' for a person, the first since ', clockTime(data.stuckSince).slice(0, -4), ' (', ago(data.stuckSince), ').');
  if (data.waitingSince && now() - Date.parse(data.waitingSince) > waitingTooLongMs)
    add('bad', 'A paying customer has been without an account since ', ago(data.waitingSince), '.');
  if (data.dueAt && now() - Date.parse(data.dueAt) > lateMs)
    add('warn', 'Work is late: the oldest was due ', ago(data.dueAt), '.');
  for (const one of data.limits)
    add('info', `${plural(one.parked, 'instance')} parked at the ${one.limit === 'rate' ? 'rate' : 'number'} allowed to the ${one.of} `,
      el('strong', {}, one.name), '.');
  if (found.length === 0) return el('p', {class: 'calm'}, 'Nothing needs you.');
  return el('ul', {class: 'troubles'}, found);
}

function tile(name, value, detail, kind = '') {
  return el('div', {class: `tile ${kind}`}, el('dt', {}, name), el('dd', {class: 'value'}, value),
    el('dd', {class: 'detail'}, detail));
}

function tiles({recent, without, hours}) {
  const answered = recent.completed + recent.failed;
  const rate = answered ? recent.completed / answered : null;
  const percent = rate === null ? '–' : `${(Math.floor(rate * 1000) / 10).toFixed(1)} %`;
  const missing = without.stuck + without.failed;
  const day = sum(hours.map((hour) => hour.finished));
  const last = hours.at(-2)?.finished ?? 0;
  return el('dl', {class: 'tiles'},
    tile('Success rate', percent, answered
      ? `${count(recent.completed)} completed, ${count(recent.failed)} failed` : 'nothing ended yet',
    rate !== null && rate < 0.95 ? 'bad' : ''),
    tile('Processing time', recent.took_ms_p50 === null ? '–' : span(recent.took_ms_p50),
      recent.took_ms_p95 === null ? 'median' : `median; 95 % within ${span(recent.took_ms_p95)}`),
    tile('Failed account creations', count(missing),
      `${count(without.stuck)} stuck now, ${count(without.failed)} failed`, missing ? 'bad' : ''),
    tile('Throughput', [count(last), el('small', {}, ' / h')],
      `in the last full hour; ${count(day)} in 24\u00a0h`),
    tile('Waiting customer', without.waiting_since
      ? rough(now() - Date.parse(without.waiting_since)) : 'none',
    without.waiting_since ? 'paid, and longest without an account' : 'everybody has an account'));
}

const hourName = (at) => `${String(new Date(at).getHours()).padStart(2, '0')}:00`;

function chart(hours) {
  const width = 720, height = 160;
  const most = Math.max(1, ...hours.map((hour) => hour.finished));
  const step = width / hours.length;
  const bars = hours.map((hour, at) => {
    const tall = hour.finished ? Math.max(2, hour.finished / most * height) : 0;
    return [el('rect', {class: at === hours.length - 1 ? 'bar now' : 'bar', x: at * step + 2, y: height - tall,
      width: step - 4, height: tall}),
    el('rect', {class: 'catch', x: at * step, y: 0, width: step, height},
      el('title', {svg: true}, `${hourName(hour.at)}: ${count(hour.finished)} ended`))];
  });
  return [el('p', {class: 'most muted', 'aria-hidden': 'true'}, count(most)),
    el('svg', {viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: 'none', class: 'chart', role: 'img', 'aria-label':
      `Instances that ended in each of the last 24 hours, at most ${count(most)} in one; the table below has the numbers.`}, bars),
    el('p', {class: 'hours muted', 'aria-hidden': 'true'}, hours.map((hour, at) =>
      el('span', {}, at % 4 === 3 ? hourName(hour.at) : '')))];
}

function throughput(hours) {
  return el('section', {class: 'panel wide', 'aria-labelledby': 'throughput-title'},
    el('h2', {id: 'throughput-title'}, 'Ended per hour'), chart(hours),
    el('details', {'data-key': 'hours'}, el('summary', {'data-key': 'hours-summary'}, 'As a table'),
      el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-label': 'Ended per hour'},
        el('table', {}, el('thead', {}, el('tr', {}, hours.map((hour) =>
          el('th', {scope: 'col'}, hourName(hour.at))))),
        el('tbody', {}, el('tr', {}, hours.map((hour) => el('td', {class: 'number'}, count(hour.finished)))))))));
}

function stateList({states: unfinished, recent, ended}) {
  const item = (state, ...numbers) => el('li', {},
    el('a', {href: listLink({state}), 'data-key': `state-${state}`}, badge(state),
      numbers.map((number) => el('span', {class: 'number'}, count(number)))));
  return el('section', {class: 'panel', 'aria-labelledby': 'states-title'},
    el('h2', {id: 'states-title'}, 'Now'),
    el('ul', {class: 'states'}, states.filter((state) => state in unfinished)
      .map((state) => item(state, unfinished[state]))),
    el('div', {class: 'ended'}, el('h2', {}, 'Ended'), el('span', none, 'in 24 h'), el('span', none, 'of all kept')),
    el('ul', {class: 'states'}, ['completed', 'failed', 'cancelled'].map((state) =>
      item(state, recent[state], ended[state]))),
    recent.whole ? null : el('p', none, `24 h: of the ${count(recent.looked_at)} that ended last.`));
}

function table(title, id, heads, rows, empty) {
  return el('section', {class: 'panel wide', 'aria-labelledby': id}, el('h2', {id}, title),
    rows.length === 0 ? el('p', none, empty)
      : el('div', {class: 'scroll', tabindex: 0, role: 'region', 'aria-labelledby': id},
        el('table', {}, el('thead', {}, el('tr', {}, heads.map(([name, number]) =>
          el('th', {scope: 'col', class: number ? 'number' : null}, name)))),
        el('tbody', {}, rows))));
}

function stuckTable(groups) {
  return table('Stuck, by cause', 'stuck-title',
    [['Error'], ['Workflow'], ['Step'], ['Instances', true]], groups.map((one) => el('tr', {},
      el('td', {}, el('a', {'data-key': `${one.workflow}/${one.step}/${one.error_code}`, href:
        listLink({state: 'stuck', workflow: one.workflow, step: one.step, error_code: one.error_code})},
      one.error_code)),
      el('td', {}, one.workflow), el('td', {}, one.step ?? '–'),
      el('td', {class: 'number'}, count(one.count)))), 'No instance waits for a person.');
}

function workflowTable({workflows, recent}) {
  const took = (ms) => (ms === null ? '–' : span(ms));
  return [table('Last 24 hours, by workflow', 'workflows-title', [['Workflow'], ['Completed', true],
    ['Failed', true], ['Cancelled', true], ['Median', true], ['95 %', true]],
  workflows.map((one) => el('tr', {},
    el('td', {}, el('a', {href: listLink({workflow: one.workflow}), 'data-key': `of-${one.workflow}`}, one.workflow)),
    [one.completed, one.failed, one.cancelled].map((number) => el('td', {class: 'number'}, count(number))),
    el('td', {class: 'number'}, took(one.took_ms_p50)), el('td', {class: 'number'}, took(one.took_ms_p95)))),
  'Nothing has ended in 24 hours.'),
  recent.whole ? null : el('p', {class: 'muted wide'}, `Rates and times are of the ${
    count(recent.looked_at)} instances that ended last; more have ended in 24 hours. The chart counts all.`)];
}

export function overviewView() {
  const slots = {
    troubles: slot('wide', troubles), tiles: slot('wide', tiles), chart: slot('chart-slot', throughput),
    states: slot('states-slot', stateList), stuck: slot('half', stuckTable), workflows: slot('half', workflowTable),
  };
  const node = el('div', {class: 'overview'}, el('h1', {}, 'Overview'),
    Object.values(slots).map((one) => one.node));
  return {
    title: 'Overview', section: 'overview', node, live: () => true,
    async refresh(signal) {
      const data = await ask('/api/admin/overview', {signal});
      const {recent} = data;
      setServerTime(data.at);
      delete recent.since;
      slots.troubles.show({breakers: data.breakers, paused: data.paused_workflows, limits: data.limits,
        stuck: data.states.stuck, stuckSince: data.stuck_since, dueAt: data.oldest_due_at,
        waitingSince: data.without_account.waiting_since,
        minute: Math.floor(now() / 60000)});
      slots.tiles.show({recent, without: data.without_account, hours: data.hours,
        minute: Math.floor(now() / 60000)});
      slots.chart.show(data.hours);
      slots.states.show({states: data.states, recent, ended: data.ended});
      slots.stuck.show(data.stuck);
      slots.workflows.show({workflows: data.workflows, recent});
    },
  };
}
