// Signing in and out, and what a session is good for.
import assert from 'node:assert/strict';
import {after, before, test} from 'node:test';
import {key, World} from './world.mjs';

let world;
before(async () => { world = await World.create(); });
after(() => world.end());

test('a wrong key is refused in words, the right one opens the overview and stays', async () => {
  const page = await world.tab({signedIn: false});
  await page.getByLabel('Admin key').fill('not-the-key-of-this-server');
  await page.keyboard.press('Enter');
  await page.getByRole('alert').filter({hasText: 'not an admin key'}).waitFor();
  assert.equal(await page.evaluate(() => document.activeElement.id), 'key');
  await page.getByLabel('Admin key').fill(key);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', {name: 'Overview'}).waitFor();
  assert.equal(await page.evaluate(() => document.cookie), '');
  const [cookie] = await page.context().cookies();
  assert.deepEqual([cookie.name, cookie.httpOnly, cookie.sameSite, cookie.path], ['steplog_session', true, 'Strict', '/']);
  assert.ok(!(await page.content()).includes(key));
  assert.deepEqual(await page.evaluate(() => [localStorage.length, sessionStorage.length]), [0, 0]);
  await page.reload();
  await page.getByRole('heading', {name: 'Overview'}).waitFor();
  await world.close(page);
});

test('signing out ends the session', async () => {
  const page = await world.tab();
  const cookies = await page.context().cookies();
  await page.getByRole('button', {name: 'Sign out'}).click();
  await page.getByText('You are signed out.').waitFor();
  await page.context().addCookies(cookies);
  assert.equal(await page.evaluate(async () => (await fetch('/api/admin/overview')).status), 401);
  await world.close(page);
});

test('another site can neither ask nor frame nor send a form', async () => {
  const page = await world.tab();
  const id = await world.purchase({email: null});
  await world.becomes(id, 'stuck');
  // From a page of the same browser, without the token: as a forged form would.
  const statuses = await page.evaluate(async (path) => Promise.all([undefined, {'X-Steplog-CSRF': 'x'}].map(
    async (headers) => (await fetch(path, {method: 'POST', headers})).status)), `/api/admin/instances/${encodeURIComponent(id)}/cancel`);
  assert.deepEqual(statuses, [403, 403]);
  await world.becomes(id, 'stuck');
  const elsewhere = await page.context().newPage();
  await elsewhere.goto('data:text/html,<title>elsewhere</title>');
  const framed = await elsewhere.evaluate(async (base) => {
    const frame = document.createElement('iframe');
    frame.src = `${base}/dashboard`;
    const loaded = new Promise((resolve) => { frame.onload = resolve; });
    document.body.append(frame);
    await loaded;
    return fetch(`${base}/api/admin/overview`, {credentials: 'include'}).then(() => 'read', () => 'refused');
  }, world.base);
  assert.equal(framed, 'refused');
  assert.ok(!(await elsewhere.frames()[1].content()).includes('Sign in'));
  await world.close(page);
});

test('a restart of the server asks for the key again, and goes on where one was', async () => {
  const page = await world.tab();
  await page.getByRole('link', {name: 'Instances'}).click();
  await page.getByRole('heading', {name: 'Instances'}).waitFor();
  await world.restartServer();
  await page.getByText('Your session has ended.').waitFor();
  await page.getByLabel('Admin key').fill(key);
  await page.keyboard.press('Enter');
  await page.getByRole('heading', {name: 'Instances'}).waitFor();
  await world.close(page);
});
