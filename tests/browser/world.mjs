// A sandbox, a server with a dashboard, and Chromium, for the tests beside this file. What a test does
// it does as a person: by what is seen on the page.
import assert from 'node:assert/strict';
import {execFileSync, spawn} from 'node:child_process';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {createInterface} from 'node:readline';
import {chromium} from 'playwright-core';

export const key = 'an-admin-key-for-the-browser';
const programs = process.env.STEPLOG_PROGRAMS;
const secret = 'whsec_browser_test_secret';
export const patience = 15_000;

// Starts a program and resolves with its first line.
async function start(command, args, environment) {
  const child = spawn(join(programs, command), args, {env: {...process.env, ...environment}, stdio: ['ignore', 'pipe', 'pipe']});
  let errors = '';
  child.stderr.on('data', (bytes) => { errors = (errors + bytes).slice(-4000); });
  const ended = new Promise((resolve) => child.once('exit', resolve));
  const line = await Promise.race([
    new Promise((resolve) => createInterface({input: child.stdout}).once('line', resolve)),
    ended.then(() => { throw new Error(`${command} did not start: ${errors}`); })]);
  return {line, stop: async () => { child.kill(); await ended; }};
}

export class World {
  static async create({database, environment = {}} = {}) {
    const world = new World();
    try {
      await world.begin(database, environment);
    } catch (error) {
      await world.end();
      throw error;
    }
    return world;
  }

  async begin(database, environment) {
    this.directory = mkdtempSync(join(tmpdir(), 'steplog-browser-'));
    this.database = database ?? join(this.directory, 'steplog.db');
    this.environment = environment;
    this.sandbox = await start('workflow-sandbox', ['serve', '--listen', '127.0.0.1:0', '--webhook', 'http://127.0.0.1:9/', '--webhook-secret', secret], {});
    this.provider = JSON.parse(this.sandbox.line).sandbox;
    await this.startServer('127.0.0.1:0');
    this.browser = await chromium.launch({executablePath: process.env.CHROMIUM, args: ['--headless', '--no-sandbox', '--disable-gpu',
      '--disable-quic', '--no-first-run', '--disable-background-networking', '--disable-component-update', '--disable-sync']});
  }

  async startServer(listen) {
    this.server = await start('workflow-server', ['--listen', listen], {
      STEPLOG_DATABASE: this.database, STRIPE_SECRET_KEY: 'sk_test_browser', STRIPE_WEBHOOK_SECRET: secret, STRIPE_API_BASE: this.provider,
      CLERK_SECRET_KEY: 'sk_test_browser', CLERK_API_BASE: this.provider, EMAIL: 'off', ADMIN_API_KEY: key, STEPLOG_RECONCILE: 'off',
      STEPLOG_RETRY_BASE: '1h', ...this.environment});
    this.base = this.server.line.replace('workflow-server listening on ', '');
  }

  async restartServer() {
    await this.server.stop();
    await this.startServer(this.base.replace('http://', ''));
  }

  async end() {
    await this.browser?.close();
    await this.server?.stop();
    await this.sandbox?.stop();
    rmSync(this.directory, {recursive: true, force: true});
  }

  // Somebody buys; the events go to the server, signed. Returns the instance of the first of them.
  async purchase(what) {
    const made = await this.tell('purchase', {deliver: false, ...what});
    const event = made.events.find((one) => one.type === 'checkout.session.completed');
    await this.deliver(event.body);
    return `provision_customer/${JSON.parse(event.body).id}`;
  }

  async deliver(body) {
    const {createHmac} = await import('node:crypto');
    const at = Math.floor(Date.now() / 1000);
    const signature = `t=${at},v1=${createHmac('sha256', secret).update(`${at}.${body}`).digest('hex')}`;
    const answer = await fetch(`${this.base}/api/stripe-webhook`, {method: 'POST', body,
      headers: {'Content-Type': 'application/json', 'Stripe-Signature': signature}});
    assert.equal(answer.status, 200, await answer.text());
  }

  async tell(path, body) {
    const answer = await fetch(`${this.provider}/_sandbox/${path}`, {method: body ? 'POST' : 'DELETE',
      body: body && JSON.stringify(body), headers: {'Content-Type': 'application/json'}});
    assert.ok(answer.ok, `${path}: ${await answer.clone().text()}`);
    return answer.json();
  }

  admin(...args) {
    return execFileSync(join(programs, 'workflow-admin'), [...args, '--database', this.database], {encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe']});
  }

  // Waits until the instance is in this state.
  async becomes(id, state) {
    const until = Date.now() + patience;
    for (;;) {
      const answer = await fetch(`${this.base}/api/admin/instances/${encodeURIComponent(id)}`, {headers: {Authorization: `Bearer ${key}`}});
      const seen = answer.ok ? (await answer.json()).state : answer.status;
      if (seen === state) return;
      assert.ok(Date.now() < until, `${id} is ${seen}, not ${state}`);
    }
  }

  // A tab of a browser that nobody has used, and whatever goes wrong in it.
  async tab({signedIn = true, ...options} = {}) {
    const context = await this.browser.newContext({viewport: {width: 1280, height: 850}, ...options});
    const page = await context.newPage();
    page.setDefaultTimeout(patience);
    page.troubles = [];
    page.on('pageerror', (error) => page.troubles.push(String(error)));
    page.on('console', (line) => {
      // A refused request is told on the console too; the tests look at what the page makes of it.
      if (line.type() === 'error' && !line.text().startsWith('Failed to load resource')) page.troubles.push(line.text());
    });
    page.on('request', (request) => {
      if (!request.url().startsWith(`${this.base}/`) && !request.url().startsWith('data:')) page.troubles.push(`asks ${request.url()}`);
    });
    await page.goto(`${this.base}/dashboard`);
    await page.getByLabel('Admin key').waitFor();
    if (!signedIn) return page;
    await page.getByLabel('Admin key').fill(key);
    await page.getByRole('button', {name: 'Sign in'}).click();
    await page.getByRole('heading', {name: 'Overview'}).waitFor();
    return page;
  }

  async close(page) {
    assert.deepEqual(page.troubles, []);
    assert.equal(await page.evaluate(() => globalThis.pwned), undefined);
    await page.context().close();
  }

  async open(page, hash) {
    await page.evaluate((to) => { location.hash = to; }, hash);
  }
  openInstance(page, id) {
    return this.open(page, `#/instance/${encodeURIComponent(id)}`);
  }
}
