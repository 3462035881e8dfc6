// What the page asks of the server: always of the one that it came from, with the session's cookie,
// and with the session's token where something changes.

let csrf = '';
export const setToken = (token) => { csrf = token; };

export class SignedOut extends Error {}

export async function ask(path, {method = 'GET', body, signal} = {}) {
  const headers = {Accept: 'application/json'};
  if (method === 'POST') headers['X-Steplog-CSRF'] = csrf;
  if (body) headers['Content-Type'] = 'application/json';
  const response = await fetch(path, {
    method, headers, signal, body: body ? JSON.stringify(body) : undefined,
    credentials: 'same-origin', cache: 'no-store', redirect: 'error',
  });
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && path !== '/dashboard/login') throw new SignedOut();
  const error = new Error(answer.error || `the server answered ${response.status}`);
  error.status = response.status;
  error.retryAfter = response.headers.get('Retry-After');
  throw error;
}

export const instancePath = (id) => `/api/admin/instances/${encodeURIComponent(id)}`;

// The paragraph of an error code; null for one that the engine does not know.
let paragraphs = null;
export async function errorHelp(code) {
  paragraphs ??= ask('/dashboard/errors.json').catch(() => ({}));
  return Object.hasOwn(await paragraphs, code) ? (await paragraphs)[code] : null;
}
