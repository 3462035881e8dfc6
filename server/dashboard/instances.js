// The list: filters in the address, newest first, the first page kept up to date and more on demand.
import {ask} from './api.js';
import {el, slot} from './dom.js';
import {ago, badge, count, instanceLink, listLink, states} from './format.js';

const pageSize = 50, chained = 100;  // pages that are asked for by themselves when one comes short
const ages = [['', 'any time'], ['5m', '5 minutes'], ['1h', '1 hour'], ['1d', '1 day'], ['7d', '7 days']];
const names = ['state', 'workflow', 'text', 'older_than', 'step', 'error_code', 'key'];

let knownHeads = [];  // for the suggestions, from the last list

function field(label, control) {
  return el('p', {class: 'field'}, el('label', {for: control.id}, label), control);
}

function select(id, label, value, choices) {
  const node = el('select', {id, name: id}, choices.map(([key, text]) => el('option', {value: key}, text)));
  node.value = value ?? '';
  return field(label, node);
}

function filterForm(filter, change) {
  const workflow = el('input', {id: 'workflow', name: 'workflow', value: filter.workflow ?? '', list: 'workflows',
    autocomplete: 'off', spellcheck: 'false', size: 18});
  const text = el('input', {type: 'search', id: 'find', name: 'text', value: filter.text ?? '', autocomplete: 'off',
    spellcheck: 'false', placeholder: 'id, customer or key', 'aria-keyshortcuts': '/'});
  const form = el('form', {class: 'filters', role: 'search', 'aria-label': 'Instances'},
    field(['Find ', el('kbd', {'aria-hidden': 'true'}, '/')], text),
    select('state', 'State', filter.state, [['', 'any'], ['unfinished', 'unfinished'],
      ...states.map((state) => [state, state])]),
    field('Workflow', workflow),
    el('datalist', {id: 'workflows'}, knownHeads.map((head) => el('option', {value: head}))),
    select('older_than', 'Unchanged for', filter.older_than, ages),
    el('div', {class: 'chips'}, ['step', 'error_code', 'key'].filter((name) => filter[name]).map((name) =>
      el('button', {type: 'button', class: 'chip', 'aria-label': `Any ${name.replace('_', ' ')}, not only ${filter[name]}`,
        onclick: (event) => { event.currentTarget.remove(); text.focus(); change({[name]: ''}); }},
      `${name.replace('_', ' ')}: ${filter[name]} ×`))));
  let typing = 0;
  const apply = () => {
    clearTimeout(typing);
    change({state: form.state.value, older_than: form.older_than.value,
      workflow: workflow.value.trim(), text: text.value.trim()});
  };
  form.addEventListener('submit', (event) => { event.preventDefault(); apply(); });
  form.addEventListener('change', apply);
  form.addEventListener('input', (event) => {
    clearTimeout(typing);
    if (event.target.matches('input')) typing = setTimeout(apply, 300);
  });
  return form;
}

function row(one) {
  const slash = one.id.indexOf('/');
  return el('tr', {},
    el('td', {class: 'c-state'}, badge(one.state)),
    el('td', {class: 'c-id'}, el('a', {href: instanceLink(one.id), 'data-key': one.id},
      slash < 0 ? one.id : [el('span', {class: 'muted'}, one.id.slice(0, slash + 1)), one.id.slice(slash + 1)]),
    one.key ? el('div', {class: 'muted key'}, one.key) : null),
    el('td', {class: one.step ? 'c-step' : 'c-step none'}, one.step ?? '–',
      one.attempts > 1 ? el('span', {class: 'muted'}, ` · ${count(one.attempts)} attempts`) : null),
    el('td', {class: 'c-error'}, one.error_code ? el('code', {}, one.error_code) : null,
      one.error ? el('div', {class: 'muted clip', title: one.error}, one.error) : null),
    el('td', {class: 'c-time'}, ago(one.updated_at)));
}

function rows({known, filtered}) {
  if (known.length === 0)
    return el('p', {class: 'calm'}, filtered ? 'No instance matches.' : 'There is no instance yet. The first event that a workflow wants starts one.');
  return el('table', {class: 'list'},
    el('caption', {class: 'unseen'}, 'Instances, newest first'),
    el('thead', {}, el('tr', {}, ['State', 'Instance', 'Step', 'Error', 'Changed'].map((name) =>
      el('th', {scope: 'col'}, name)))),
    el('tbody', {}, known.map(row)));
}

export function instancesView(query) {
  let filter = Object.fromEntries(names.map((name) => [name, query.get(name) ?? '']));
  let known = [], next = null, cut = false, looking = false, first = true;

  const problem = slot('', (text) => (text ? el('p', {class: 'notice bad', role: 'alert'}, text) : null));
  const list = slot('panel', rows);
  const foot = slot('foot', (state) => [
    el('p', {class: 'muted', role: 'status'}, state.looking ? 'Looking further back…'
      : state.cut ? `${count(state.shown)} shown, and more match: give more of it.` : `${count(state.shown)} shown.`),
    state.more ? el('button', {type: 'button', 'data-key': 'more', 'aria-disabled': state.looking ? 'true' : null,
      onclick: () => { if (!looking) more(true); }}, 'Show more') : null]);
  const place = el('div', {});
  const node = el('div', {class: 'instances'}, el('h1', {}, 'Instances'), place, problem.node, list.node, foot.node);
  const view = {
    title: 'Instances', section: 'instances', node, live: () => true,
    refresh, fail: (error) => { if (error.status === 400) problem.show(error.message); },
  };

  function change(changes) {
    const wanted = {...filter, ...changes};
    if (JSON.stringify(wanted) === JSON.stringify(filter)) return;
    filter = wanted;
    known = []; next = null; first = true;
    history.replaceState(null, '', listLink(filter));
    view.again();
  }
  const form = filterForm(filter, change);
  place.replaceChildren(form);

  const page = (before, signal) => ask(`/api/admin/browse?${new URLSearchParams(Object.entries(
    {...filter, before, limit: pageSize}).filter(([, value]) => value))}`, {signal});

  function draw() {
    list.show({known, filtered: names.some((name) => filter[name])});
    foot.show({shown: known.length, cut, looking, more: next !== null});
  }

  // The newest page again. What is known and older than it stays.
  async function refresh(signal) {
    const asked = filter;
    const newest = await page('', signal);
    if (asked !== filter) return;
    const boundary = newest.next ?? -1;
    const older = known.filter((one) => one.seq < boundary);
    if (older.length === 0) next = newest.next;
    known = [...newest.instances, ...older];
    cut = newest.cut;
    problem.show('');
    draw();
    if (first) { first = false; more(false); suggest(signal); }
  }

  async function suggest(signal) {
    if (knownHeads.length > 0) return;
    knownHeads = (await ask('/api/admin/overview', {signal}).catch(() => ({heads: []}))).heads;
    node.querySelector('datalist').replaceChildren(...knownHeads.map((head) => el('option', {value: head})));
  }

  // Until a page is full, or the end. One question looks at a bounded number of rows.
  async function more(asked) {
    const mine = filter, enough = asked ? known.length + pageSize : pageSize;
    looking = true;
    try {
      for (let n = 0; n < chained && next !== null && known.length < enough; ++n) {
        draw();
        const older = await page(next);
        if (mine !== filter || !node.isConnected) return;
        const ids = new Set(known.map((one) => one.id));
        known = [...known, ...older.instances.filter((one) => !ids.has(one.id))];
        next = older.next;
      }
    } catch {
      // The next poll says what is wrong.
    } finally {
      if (mine === filter) { looking = false; draw(); }
    }
  }
  return view;
}
