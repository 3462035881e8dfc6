-- Flow control: what is allowed stands in the program, what has happened here. Nothing ever filled
-- these tables of the first migration.
DROP TABLE limits;
DROP TABLE breakers;

-- A provider's circuit breaker. One that is closed and has not just failed has no row.
CREATE TABLE breakers (
    provider     TEXT PRIMARY KEY,
    state        TEXT NOT NULL CHECK (state IN ('closed','open','half_open')),
    failures     INTEGER NOT NULL DEFAULT 0,     -- in a row, …
    failing_since_ms INTEGER,                    -- … the first of them at this time, …
    last_failed  INTEGER NOT NULL DEFAULT 0,     -- … the last of them by this instance
    openings     INTEGER NOT NULL DEFAULT 0,     -- in a row, without a recovery in between
    stage        INTEGER NOT NULL DEFAULT 0 CHECK (stage BETWEEN 0 AND 3),  -- one tries; a tenth; all
    allowance    INTEGER NOT NULL DEFAULT 0 CHECK (allowance >= 0),  -- calls that may still begin
    wanted       INTEGER NOT NULL DEFAULT 0,     -- answers that end the second stage
    unreleased   INTEGER NOT NULL DEFAULT 0,     -- in the second stage: still to be released
    answers      INTEGER NOT NULL DEFAULT 0,     -- in the second stage: good ones so far
    probe        INTEGER NOT NULL DEFAULT 0,     -- in the first stage: the instance that tries
    opened_at_ms INTEGER,
    next_at_ms   INTEGER,                        -- when something happens by itself
    held_at_ms   INTEGER,                        -- a person holds it open since
    reason       TEXT,                           -- code of the failure that opened it
    CHECK ((state = 'half_open') = (stage > 0)),
    CHECK (held_at_ms IS NULL OR (state = 'open' AND next_at_ms IS NULL))
) STRICT, WITHOUT ROWID;
-- Who is parked, and who is released first.
CREATE INDEX instances_parked ON instances(waits_detail, updated_at_ms)
    WHERE waits_for = 'circuit';

-- Who is at work under a limit of numbers: until the step's outcome, the end of the claim, or that of
-- the server's life. Nothing is written here where nothing is limited.
CREATE TABLE slots (
    scope    TEXT NOT NULL CHECK (scope IN ('workflow','provider')),
    name     TEXT NOT NULL,
    instance INTEGER NOT NULL,
    step     TEXT NOT NULL,                      -- '' for a workflow's
    PRIMARY KEY (scope, name, instance, step)
) STRICT, WITHOUT ROWID;
-- What an instance that stops running gives back.
CREATE INDEX slots_instance ON slots(instance);
