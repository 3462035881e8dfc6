// The official clients of Stripe, Clerk and Resend speak to a running workflow-sandbox: what they
// send is understood, what they get they can read, and signatures agree in both directions.
// Started by tests/contract/run, which sets STEPLOG_SANDBOX. Runs under `node --test`.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import { after, before, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { createClerkClient } from '@clerk/backend';
import { Resend } from 'resend';
import Stripe from 'stripe';

const base = new URL(process.env.STEPLOG_SANDBOX);
const secret = process.env.STRIPE_WEBHOOK_SECRET;
const stripe = new Stripe('sk_test_x', {
    host: base.hostname, port: base.port, protocol: 'http', maxNetworkRetries: 2, telemetry: false,
    timeout: 5000,  // else a socket of the client's own pool keeps this process alive for 80 s
});
const clerk = createClerkClient({ secretKey: 'sk_test_y', apiUrl: base.origin });
const resend = new Resend('re_x', { baseUrl: base.origin });

async function sandbox(method, path, body) {
    const reply = await fetch(`${base.origin}/_sandbox/${path}`, {
        method, body: body === undefined ? undefined : JSON.stringify(body),
    });
    const json = await reply.json();
    assert.equal(reply.status, 200, JSON.stringify(json));
    return json;
}

const deliveries = [];
const webhook = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    deliveries.push({ body, headers: request.headers });
    response.end('{"received":true}');
});

before(async () => {
    webhook.listen(Number(new URL(process.env.WEBHOOK_URL).port), '127.0.0.1');
    await once(webhook, 'listening');
});
after(() => webhook.close());
beforeEach(async () => {
    await sandbox('POST', 'reset');
    deliveries.length = 0;
});

test('stripe: a customer is updated once under an idempotency key', async () => {
    const bought = await sandbox('POST', 'purchase', { deliver: false });
    const update = () => stripe.customers.update(
        bought.customer, { name: 'Ada Lovelace & Söns', metadata: { clerk_user_id: 'user_1', old: '' } },
        { idempotencyKey: 'steplog:wf_1:update_customer' });
    const first = await update();
    assert.equal(first.metadata.clerk_user_id, 'user_1');
    assert.equal(first.name, 'Ada Lovelace & Söns');
    assert.match(first.lastResponse.requestId, /^req_/);
    const again = await update();
    assert.equal(again.lastResponse.headers['idempotent-replayed'], 'true');
    assert.equal((await sandbox('GET', 'state')).effects['steplog:wf_1:update_customer'], 1);
    await assert.rejects(
        stripe.customers.update(bought.customer, { name: 'Eve' },
                                { idempotencyKey: 'steplog:wf_1:update_customer' }),
        (error) => error instanceof Stripe.errors.StripeIdempotencyError);
});

test('stripe: lists, searches, expands and pages by itself', async () => {
    for (let i = 0; i < 7; ++i) {
        await sandbox('POST', 'purchase', { email: `ada+${i}@example.com`, deliver: false });
    }
    const ids = [];
    for await (const customer of stripe.customers.list({ limit: 3 })) ids.push(customer.id);
    assert.equal(new Set(ids).size, 7);
    const { data } = await stripe.customers.search({
        query: "email:'ada+3@example.com' AND metadata['clerk_user_id']:null", limit: 10,
    });
    assert.equal(data.length, 1);
    const subscriptions = await stripe.subscriptions.list({
        customer: data[0].id, status: 'all', limit: 100, expand: ['data.customer'],
    });
    assert.equal(subscriptions.data[0].customer.email, 'ada+3@example.com');
    const sessions = await stripe.checkout.sessions.list({
        customer_details: { email: 'ada+3@example.com' }, limit: 10,
    });
    const session = await stripe.checkout.sessions.retrieve(sessions.data[0].id,
                                                            { expand: ['customer', 'subscription'] });
    assert.equal(session.subscription.status, 'active');
    const missed = await stripe.events.list({
        delivery_success: false, types: ['checkout.session.completed', 'invoice.paid'], limit: 100,
    });
    assert.equal(missed.data.length, 14);
    await stripe.customers.del(data[0].id);
    assert.equal((await stripe.customers.retrieve(data[0].id)).deleted, true);
    await assert.rejects(stripe.customers.retrieve('cus_nobody'),
                         (error) => error.statusCode === 404 && error.code === 'resource_missing');
});

test('stripe: what the client retries by itself', async () => {
    const { customer } = await sandbox('POST', 'purchase', { deliver: false });
    const update = (key) => stripe.customers.update(customer, { metadata: { a: '1' } },
                                                    { idempotencyKey: key });
    await sandbox('POST', 'faults', { kind: 'status', status: 500, times: 1 });
    await update('after-500');
    await sandbox('POST', 'faults', { kind: 'lost_answer', times: 1 });
    await update('after-reset');
    await sandbox('POST', 'faults', { kind: 'rate_limited', times: 1 });
    await assert.rejects(update('after-429'), (error) => error.statusCode === 429);
    await sandbox('POST', 'faults',
                  { kind: 'status', status: 500, times: 1, remembered: true,
                    headers: { 'Stripe-Should-Retry': 'false' } });
    await assert.rejects(update('remembered'), (error) => error.statusCode === 500);
    await assert.rejects(update('remembered'), (error) => error.statusCode === 500);
    const state = await sandbox('GET', 'state');
    assert.equal(state.effects['after-500'], 1);
    assert.equal(state.effects['after-reset'], 1);
    assert.equal(state.effects['remembered'], undefined);
});

test('stripe: connected accounts are apart, and a wrong key is an authentication error', async () => {
    const { customer } = await sandbox('POST', 'purchase', { account: 'acct_1', deliver: false });
    await assert.rejects(stripe.customers.retrieve(customer));
    const found = await stripe.customers.retrieve(customer, {}, { stripeAccount: 'acct_1' });
    assert.equal(found.email, 'ada@example.com');
    const stranger = new Stripe('nonsense', { host: base.hostname, port: base.port, protocol: 'http' });
    await assert.rejects(stranger.customers.list(),
                         (error) => error instanceof Stripe.errors.StripeAuthenticationError);
});

test('stripe: what the sandbox signs constructEvent accepts, thin events included', async () => {
    const bought = await sandbox('POST', 'purchase', { shuffle: true });
    assert.equal((await sandbox('POST', 'wait', { timeout_ms: 5000 })).idle, true);
    assert.equal(deliveries.length, 6);
    for (const { body, headers } of deliveries) {
        const event = stripe.webhooks.constructEvent(body, headers['stripe-signature'], secret);
        assert.match(event.id, /^evt_/);
        assert.equal(headers['content-type'], 'application/json; charset=utf-8');
        assert.throws(() => stripe.webhooks.constructEvent(body + ' ', headers['stripe-signature'],
                                                           secret));
    }
    deliveries.length = 0;
    await stripe.subscriptions.update(bought.subscription, { metadata: { clerk_user_id: 'user_1' } },
                                      { idempotencyKey: 'steplog:wf_1:update_subscription' });
    await sandbox('POST', 'wait', { timeout_ms: 5000 });
    const caused = stripe.webhooks.constructEvent(deliveries[0].body,
                                                  deliveries[0].headers['stripe-signature'], secret);
    assert.equal(caused.type, 'customer.subscription.updated');
    assert.equal(caused.request.idempotency_key, 'steplog:wf_1:update_subscription');
    deliveries.length = 0;
    await sandbox('POST', 'purchase', { thin: true });
    await sandbox('POST', 'wait', { timeout_ms: 5000 });
    const { body, headers } = deliveries[0];
    const thin = stripe.parseEventNotification(body, headers['stripe-signature'], secret);
    assert.match(thin.type, /^v1\./);
    assert.equal((await stripe.v2.core.events.retrieve(thin.id)).id, thin.id);
});

test('stripe: what the official library signs has the sandbox\'s signature', () => {
    const payload = '{"id":"evt_1","name":"Zoë 🎉"}';
    const timestamp = 1793520290;
    const header = stripe.webhooks.generateTestHeaderString({ payload, secret, timestamp });
    const ours = spawnSync(process.env.WORKFLOW_SANDBOX,
                           ['sign', '--secret', secret, '--timestamp', String(timestamp)],
                           { input: payload, encoding: 'utf8' });
    assert.equal(ours.stdout.trim(), header);
});

const cli = fileURLToPath(new URL('node_modules/@stripe/cli-linux-x64/bin/stripe', import.meta.url));
const withoutCli = existsSync(cli) ? false : 'Stripe\'s command line is there for Linux on x64 only';

test('stripe: the command line triggers events, which the sandbox sends signed', { skip: withoutCli }, async () => {
    for (const type of ['checkout.session.completed', 'customer.subscription.created', 'invoice.paid']) {
        const ran = spawnSync(
            cli, ['trigger', type, '--api-base', base.origin, '--api-key', 'sk_test_0123456789abcdef'],
            { encoding: 'utf8', env: { ...process.env, STRIPE_CLI_TELEMETRY_OPTOUT: '1' }, timeout: 20000 });
        assert.equal(ran.status, 0, ran.stdout + ran.stderr);
        for (let i = 0; i < 200 && !deliveries.some(({ body }) => JSON.parse(body).type === type); ++i)
            await new Promise((resolve) => setTimeout(resolve, 25));
        const delivered = deliveries.find(({ body }) => JSON.parse(body).type === type);
        assert.ok(delivered, `${type} was not delivered`);
        stripe.webhooks.constructEvent(delivered.body, delivered.headers['stripe-signature'], secret);
    }
});

test('clerk: users are created, found, linked and deleted', async () => {
    const user = await clerk.users.createUser({
        emailAddress: ['ada+test@example.com'], firstName: 'Ada', lastName: 'Lovelace',
        externalId: 'cus_1', skipPasswordRequirement: true,
        privateMetadata: { stripe_customer_id: 'cus_1', old: 1 },
    });
    assert.equal(user.primaryEmailAddress.emailAddress, 'ada+test@example.com');
    assert.equal(user.primaryEmailAddress.verification.status, 'verified');
    const byEmail = await clerk.users.getUserList({ emailAddress: ['ada+test@example.com'] });
    assert.equal(byEmail.totalCount, 1);
    assert.equal(byEmail.data[0].externalId, 'cus_1');
    const byId = await clerk.users.getUserList({ externalId: ['cus_1', 'cus_2'] });
    assert.equal(byId.data[0].id, user.id);
    const merged = await clerk.users.updateUserMetadata(user.id, {
        privateMetadata: { old: null, stripe_customer_ids: ['cus_1', 'cus_2'] },
    });
    assert.deepEqual(merged.privateMetadata,
                     { stripe_customer_id: 'cus_1', stripe_customer_ids: ['cus_1', 'cus_2'] });
    assert.equal((await clerk.users.updateUser(user.id, { externalId: 'cus_9' })).externalId, 'cus_9');
    assert.ok((await clerk.signInTokens.createSignInToken({ userId: user.id, expiresInSeconds: 60 })).token);
    assert.equal((await clerk.users.deleteUser(user.id)).deleted, true);
    await assert.rejects(clerk.users.getUser(user.id), (error) => error.status === 404);
});

test('clerk: a taken address and a rate limit are errors the client understands', async () => {
    await sandbox('POST', 'users', { email: 'eve@example.com', verified: false });
    await assert.rejects(
        clerk.users.createUser({ emailAddress: ['eve@example.com'], skipPasswordRequirement: true }),
        (error) => error.status === 422 && error.errors[0].code === 'form_identifier_exists' &&
            error.errors[0].meta.paramName === 'email_address' && Boolean(error.clerkTraceId));
    const { data } = await clerk.users.getUserList({ emailAddress: ['eve@example.com'] });
    assert.equal(data[0].emailAddresses[0].verification.status, 'unverified');
    await sandbox('POST', 'faults', { kind: 'rate_limited', provider: 'clerk', retry_after_s: 7, times: 1 });
    await assert.rejects(clerk.users.getUser('user_1'),
                         (error) => error.status === 429 && error.retryAfter === 7);
    await clerk.invitations.createInvitation({ emailAddress: 'new@example.com' });
    await assert.rejects(clerk.invitations.createInvitation({ emailAddress: 'new@example.com' }),
                         (error) => error.errors[0].code === 'duplicate_record');
});

test('resend: an e-mail is accepted once under its key', async () => {
    const send = (to) => resend.emails.send(
        { from: 'Acme <hello@acme.dev>', to, subject: 'Welcome', text: 'Hi', html: '<p>Hi</p>',
          replyTo: 'support@acme.dev', tags: [{ name: 'kind', value: 'welcome' }] },
        { idempotencyKey: 'welcome-email/user_1' });
    const first = await send('ada@example.com');
    assert.equal(first.error, null);
    assert.equal((await send('ada@example.com')).data.id, first.data.id);
    const other = await send('eve@example.com');
    assert.equal(other.error.name, 'invalid_idempotent_request');
    const shown = await resend.emails.get(first.data.id);
    assert.deepEqual(shown.data.to, ['ada@example.com']);
    const refused = await resend.emails.send({ from: 'hello@acme.dev', to: 'nonsense', subject: 'x',
                                               text: 'x' });
    assert.equal(refused.error.name, 'validation_error');
    assert.equal((await sandbox('GET', 'state')).counts.emails, 1);
});
