-- The whole durable model. Times are Unix milliseconds. Text that a person may be named in (inputs,
-- results, requests, raw events) lies in payloads and nowhere else, so that it can be forgotten.
-- Tables that nothing fills yet are here because the shape of the others depends on them.

CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- The lives of servers: one row for each start that took the file's lock. The newest is the owner.
CREATE TABLE owners (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    started_at_ms INTEGER NOT NULL,
    ended_at_ms   INTEGER,                       -- set by a clean end only
    program       TEXT NOT NULL,
    pid           INTEGER NOT NULL
) STRICT;

-- Keys that encrypt one customer's payloads; destroying one forgets the customer.
CREATE TABLE data_keys (
    id              INTEGER PRIMARY KEY,
    subject         TEXT NOT NULL UNIQUE,        -- a customer's id or a key, or its keyed hash once forgotten
    wrapped_key     BLOB,                        -- NULL: destroyed
    wrapping_key_id TEXT,
    created_at_ms   INTEGER NOT NULL,
    destroyed_at_ms INTEGER
) STRICT;

-- Referred to by number from below, without a foreign key: deleting one must not search every table.
CREATE TABLE payloads (
    id          INTEGER PRIMARY KEY,
    data_key_id INTEGER,                         -- NULL: the body is clear text
    body        BLOB                             -- NULL: forgotten or purged
) STRICT;
-- Whether anything is left that a data key opens, before it is destroyed.
CREATE INDEX payloads_data_key ON payloads(data_key_id) WHERE data_key_id IS NOT NULL;

-- One durable execution. A row here is hot: it is rewritten with every checkpoint, so it stays narrow.
CREATE TABLE instances (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of arrival; never given twice
    id              TEXT NOT NULL UNIQUE CHECK (length(id) BETWEEN 1 AND 512),
    workflow        TEXT NOT NULL,
    version         INTEGER NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('pending','queued','running','sleeping','waiting',
                                                   'stuck','completed','failed','cancelled')),
    due_at_ms       INTEGER,                     -- a worker may take it from then on
    waits_for       TEXT CHECK (waits_for IN ('retry','circuit','timer','signal','child','key',
                                              'once','pause')),
    waits_detail    TEXT,                        -- which signal, child, provider, once key
    owner           INTEGER,                     -- owners.id of the server that holds it
    epoch           INTEGER NOT NULL DEFAULT 0,  -- number of claims: the fencing token
    deaths          INTEGER NOT NULL DEFAULT 0,  -- holders that died in a row without a new outcome
    key             TEXT,                        -- unfinished instances of one key run one by one
    key_ticket      INTEGER,                     -- order within the key, drawn when it queues
    holds_key       INTEGER NOT NULL DEFAULT 0 CHECK (holds_key IN (0,1)),
    on_stuck        TEXT NOT NULL DEFAULT 'keep_key' CHECK (on_stuck IN ('keep_key','release_key')),
    priority        INTEGER NOT NULL DEFAULT 0,
    step            TEXT,                        -- where it stands
    attempt         INTEGER NOT NULL DEFAULT 0,
    error_code      TEXT,
    error           TEXT,
    log_length      INTEGER NOT NULL DEFAULT 0,
    log_hash        BLOB NOT NULL CHECK (length(log_hash) = 32),  -- head of the chain
    input_payload   INTEGER,
    input_hash      BLOB NOT NULL CHECK (length(input_hash) = 32),
    output_payload  INTEGER,
    published       INTEGER,
    parent          INTEGER REFERENCES instances(seq),
    on_parent_close TEXT CHECK (on_parent_close IN ('abandon','cancel','await')),
    cancel_requested_at_ms INTEGER,
    deadline_ms     INTEGER,
    created_at_ms   INTEGER NOT NULL,
    updated_at_ms   INTEGER NOT NULL,
    finished_at_ms  INTEGER,
    CHECK ((finished_at_ms IS NOT NULL) = (state IN ('completed','failed','cancelled'))),
    CHECK (state IN ('pending','running','sleeping','waiting') OR due_at_ms IS NULL),
    CHECK (state NOT IN ('pending','running') OR due_at_ms IS NOT NULL),
    CHECK (state NOT IN ('queued','completed','failed','cancelled') OR holds_key = 0),
    CHECK (state <> 'queued' OR (key IS NOT NULL AND waits_for = 'key')),
    CHECK (state <> 'running' OR owner IS NOT NULL),
    CHECK (state <> 'stuck' OR error_code IS NOT NULL)
) STRICT;

-- The scheduler: claim takes the smallest due times.
CREATE INDEX instances_due ON instances(due_at_ms) WHERE due_at_ms IS NOT NULL;
-- At most one holder of a key, whatever the program believes.
CREATE UNIQUE INDEX instances_key_holder ON instances(key) WHERE holds_key = 1;
-- Who is next in line for a key.
CREATE INDEX instances_key_line ON instances(key, key_ticket) WHERE state = 'queued';
-- All instances of one key (a customer's, for support).
CREATE INDEX instances_key ON instances(key) WHERE key IS NOT NULL;
-- stuck, alerts.
CREATE INDEX instances_stuck ON instances(updated_at_ms) WHERE state = 'stuck';
-- Whom a finished child, a signal or a released once key wakes.
CREATE INDEX instances_waiting ON instances(waits_for, waits_detail) WHERE waits_detail IS NOT NULL;
-- Children of an instance.
CREATE INDEX instances_parent ON instances(parent) WHERE parent IS NOT NULL;
-- Retention.
CREATE INDEX instances_finished ON instances(finished_at_ms) WHERE finished_at_ms IS NOT NULL;

CREATE TRIGGER instances_terminal_is_final BEFORE UPDATE OF state ON instances
WHEN OLD.state IN ('completed','failed','cancelled') AND NEW.state <> OLD.state
BEGIN SELECT RAISE(ABORT, 'a finished instance never changes its state'); END;

-- The step log. seq is monotone over the whole file; n counts within the instance, without gaps.
CREATE TABLE entries (
    seq        INTEGER PRIMARY KEY,
    instance   INTEGER NOT NULL REFERENCES instances(seq),
    n          INTEGER NOT NULL CHECK (n >= 1),
    step       TEXT NOT NULL,                    -- '' for what concerns the whole instance
    kind       TEXT NOT NULL CHECK (kind IN ('started','completed','retried','failed','resumed','stuck',
                                             'key','timer','signal','child','published','undone',
                                             'skipped','cancelled','moved','recorded')),
    attempt    INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0,
    at_ms      INTEGER NOT NULL,
    data       TEXT NOT NULL CHECK (length(data) <= 8192),  -- small JSON: keys, codes, delays
    payload    INTEGER,
    payload_hash BLOB CHECK (payload_hash IS NULL OR length(payload_hash) = 32),  -- keyed
    hash       BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

-- Replay reads an instance's log in order; a gap or a fork cannot be written.
CREATE UNIQUE INDEX entries_of_instance ON entries(instance, n);
-- A finished step is never finished again.
CREATE UNIQUE INDEX entries_completed_once ON entries(instance, step) WHERE kind IN ('completed','skipped');

-- Forgetting a customer takes the words of an entry that ended, and leaves what the chain covers.
CREATE TRIGGER entries_are_immutable BEFORE UPDATE ON entries
WHEN NEW.data NOT LIKE '{"forgotten":"%' OR (NEW.step <> OLD.step AND NEW.step NOT LIKE 'forgotten:%')
  OR (NEW.seq, NEW.instance, NEW.n, NEW.kind, NEW.attempt, NEW.generation, NEW.at_ms, NEW.payload,
      NEW.payload_hash, NEW.hash)
  IS NOT (OLD.seq, OLD.instance, OLD.n, OLD.kind, OLD.attempt, OLD.generation, OLD.at_ms, OLD.payload,
          OLD.payload_hash, OLD.hash)
  OR EXISTS (SELECT 1 FROM instances WHERE seq = OLD.instance AND finished_at_ms IS NULL)
BEGIN SELECT RAISE(ABORT, 'the step log is never rewritten'); END;
CREATE TRIGGER entries_outlive_their_instance BEFORE DELETE ON entries
WHEN EXISTS (SELECT 1 FROM instances WHERE seq = OLD.instance AND finished_at_ms IS NULL)
BEGIN SELECT RAISE(ABORT, 'the step log of an unfinished instance is never deleted'); END;

-- The inbox. A message is kept whatever became of it; (source, id) folds deliveries.
CREATE TABLE events (
    seq            INTEGER PRIMARY KEY,
    source         TEXT NOT NULL,
    id             TEXT NOT NULL,
    type           TEXT NOT NULL,
    subject        TEXT,                         -- the customer, or what stands for one
    disposition    TEXT NOT NULL CHECK (disposition IN ('routed','ignored','quarantined')),
    reason         TEXT,
    instance       INTEGER,                      -- instances.seq; outlives it
    payload        INTEGER,
    body_hash      BLOB NOT NULL CHECK (length(body_hash) = 32),  -- keyed
    conflicts      INTEGER NOT NULL DEFAULT 0,   -- deliveries of this id with another body
    received_at_ms INTEGER NOT NULL,
    CHECK ((disposition = 'routed') = (instance IS NOT NULL)),
    CHECK (disposition = 'routed' OR reason IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX events_id ON events(source, id);
CREATE INDEX events_subject ON events(subject) WHERE subject IS NOT NULL;
CREATE INDEX events_unrouted ON events(seq) WHERE disposition <> 'routed';

-- Effects that happen once whoever asks: they outlive the instances and their retention.
CREATE TABLE once_keys (
    key               TEXT PRIMARY KEY,
    state             TEXT NOT NULL CHECK (state IN ('claimed','in_doubt','free','completed')),
    instance          INTEGER,                   -- owner while claimed, doer once completed
    instance_id       TEXT NOT NULL,
    step              TEXT NOT NULL,
    generation        INTEGER NOT NULL DEFAULT 0,
    idempotency_key   TEXT NOT NULL,
    request           INTEGER,
    result            INTEGER,
    first_attempt_at_ms INTEGER,                 -- under this idempotency key
    updated_at_ms     INTEGER NOT NULL,
    CHECK (state <> 'claimed' OR instance IS NOT NULL),
    CHECK (state <> 'completed' OR result IS NOT NULL)
) STRICT;
-- What an instance that ends must let go.
CREATE INDEX once_keys_claimed ON once_keys(instance) WHERE state = 'claimed';

CREATE TABLE signals (
    seq         INTEGER PRIMARY KEY,
    instance    INTEGER NOT NULL REFERENCES instances(seq),
    name        TEXT NOT NULL,
    dedupe_id   TEXT,
    payload     INTEGER,
    sent_at_ms  INTEGER NOT NULL,
    taken_by_n  INTEGER                          -- entries.n that consumed it
) STRICT;
CREATE UNIQUE INDEX signals_dedupe ON signals(instance, name, dedupe_id) WHERE dedupe_id IS NOT NULL;
CREATE INDEX signals_untaken ON signals(instance, name, seq) WHERE taken_by_n IS NULL;

CREATE TABLE schedules (
    id           TEXT PRIMARY KEY,
    workflow     TEXT NOT NULL,
    spec         TEXT NOT NULL,                  -- JSON: cron, time zone, overlap, catch-up, jitter
    input        INTEGER,
    paused       INTEGER NOT NULL DEFAULT 0,
    next_at_ms   INTEGER,
    last_at_ms   INTEGER,
    created_at_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX schedules_due ON schedules(next_at_ms) WHERE next_at_ms IS NOT NULL AND paused = 0;

-- Flow control survives a restart: token buckets and circuit breakers are rows.
CREATE TABLE limits (
    scope        TEXT NOT NULL,                  -- provider, workflow, key
    name         TEXT NOT NULL,
    tokens       REAL,
    refilled_at_ms INTEGER,
    running      INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE breakers (
    provider     TEXT PRIMARY KEY,
    state        TEXT NOT NULL CHECK (state IN ('closed','open','half_open')),
    failures     INTEGER NOT NULL DEFAULT 0,
    opened_at_ms INTEGER,
    probe_at_ms  INTEGER,
    stage        INTEGER NOT NULL DEFAULT 0,
    reason       TEXT
) STRICT, WITHOUT ROWID;

-- What people did, written in the transaction that did it.
CREATE TABLE audit (
    seq      INTEGER PRIMARY KEY AUTOINCREMENT,
    at_ms    INTEGER NOT NULL,
    actor    TEXT NOT NULL,                      -- "uid:1000", "admin-api"
    action   TEXT NOT NULL,                      -- "resume"
    target   TEXT NOT NULL,                      -- an instance's id, or a filter; forgotten: a hash
    detail   TEXT NOT NULL                       -- JSON, no personal data
) STRICT;
CREATE TRIGGER audit_is_immutable BEFORE UPDATE ON audit
WHEN NEW.target NOT LIKE 'forgotten:%'
  OR (NEW.seq, NEW.at_ms, NEW.actor, NEW.action) IS NOT (OLD.seq, OLD.at_ms, OLD.actor, OLD.action)
BEGIN SELECT RAISE(ABORT, 'the audit log is never rewritten'); END;
