// The dashboard's beginning: who is signed in, which view is shown, and that it stays up to date.
import {ask, setToken, SignedOut} from './api.js';
import {el, say} from './dom.js';
import {updateTimes} from './format.js';
import {instanceView} from './instance.js';
import {instancesView} from './instances.js';
import {overviewView} from './overview.js';

const pollMs = 2000, pollMsMax = 30000;
const main = document.getElementById('main'), top = document.getElementById('top');

let view = null;      // {title, node, refresh(signal), live}
let polling = 0;      // the timer
let asking = null;    // aborts what is being asked
let failures = 0;
let signedIn = false;

function route() {
  const [path, query] = location.hash.slice(1).split('?');
  const parts = path.split('/');
  if (parts[1] === 'instance' && parts.length > 2) {
    try {
      return instanceView(decodeURIComponent(parts.slice(2).join('/')));
    } catch {
      return instancesView(new URLSearchParams());
    }
  }
  if (parts[1] === 'instances') return instancesView(new URLSearchParams(query));
  return overviewView();
}

function tellLive(kind, text) {
  document.getElementById('live').className = kind;
  const place = document.getElementById('live-text');
  if (place.textContent !== text) place.textContent = text;
}

// Asks once and then again after a while, for as long as somebody looks.
async function poll() {
  clearTimeout(polling);
  asking?.abort();
  if (!view || !signedIn || document.hidden) return;
  const mine = view, abort = asking = new AbortController();
  try {
    await mine.refresh(abort.signal);
    if (mine !== view || abort.signal.aborted) return;
    failures = 0;
    tellLive(mine.live() ? 'on' : 'off', mine.live() ? 'Live' : 'Ended');
    main.removeAttribute('aria-busy');
  } catch (error) {
    if (mine !== view || abort.signal.aborted) return;
    if (error instanceof SignedOut) return showLogin('Your session has ended.');
    failures += 1;
    tellLive('trouble', error.status === 503 ? 'Busy, trying again' : 'No answer, trying again');
    if (mine.fail) mine.fail(error);
  }
  if (failures || view.live())
    polling = setTimeout(poll, Math.min(pollMs * 2 ** failures, pollMsMax));
}

function show() {
  if (!signedIn || location.hash === '#main') return;
  view = route();
  view.again = poll;
  document.title = `${view.title} · Steplog`;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.dataset.view === view.section) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
  failures = 0;
  main.setAttribute('aria-busy', 'true');
  main.replaceChildren(view.node);
  window.scrollTo(0, 0);
  poll();
}

function showLogin(why = '') {
  signedIn = false;
  view = null;
  clearTimeout(polling);
  asking?.abort();
  document.getElementById('confirm').close();
  top.hidden = true;
  document.title = 'Sign in · Steplog';
  main.replaceChildren(document.getElementById('login-template').content.cloneNode(true));
  main.removeAttribute('aria-busy');
  document.getElementById('login-why').textContent = why;
  document.getElementById('login').addEventListener('submit', logIn);
  document.getElementById('key').focus();
}

async function logIn(event) {
  event.preventDefault();
  const form = event.target, field = form.key, error = document.getElementById('login-error');
  error.textContent = '';
  form.querySelector('button').disabled = true;
  try {
    enter(await ask('/dashboard/login', {method: 'POST', body: {key: field.value}}));
    main.focus();
  } catch (failure) {
    error.textContent = failure.status === 401 ? 'That is not an admin key of this server.'
      : failure.status === 429 ? `Too many wrong keys: try again in ${failure.retryAfter} s.`
        : failure.status ? `The server refused: ${failure.message}.` : 'The server does not answer.';
    field.setAttribute('aria-invalid', 'true');
    form.querySelector('button').disabled = false;
    field.select();
    field.focus();
  }
}

function enter(session) {
  signedIn = true;
  setToken(session.csrf);
  top.hidden = false;
  show();
}

document.getElementById('sign-out').addEventListener('click', async () => {
  try {
    await ask('/dashboard/logout', {method: 'POST'});
  } catch (error) {
    say(`Not signed out: ${error.message || 'the server does not answer'}.`, true);
    return;
  }
  showLogin('You are signed out.');
});

document.getElementById('skip').addEventListener('click', (event) => {
  event.preventDefault();
  main.focus();
});

// "/" goes to the filter, as in many places.
document.addEventListener('keydown', (event) => {
  if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || !signedIn) return;
  if (event.target.closest('input, select, textarea, dialog')) return;
  event.preventDefault();
  if (!document.getElementById('find')) location.hash = '#/instances';
  setTimeout(() => document.getElementById('find')?.focus());
});

window.addEventListener('hashchange', show);
document.addEventListener('visibilitychange', poll);
setInterval(updateTimes, 1000);

try {
  const session = await ask('/dashboard/session');
  if (session.signed_in) enter(session);
  else showLogin();
} catch {
  main.replaceChildren(el('p', {class: 'notice bad'}, 'The server does not answer. Load this page again.'));
}
