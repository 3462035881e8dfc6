-- Schedules: workflows that the clock starts. What a program defines at its start, and how far each
-- has come. Nothing ever filled the table of the first migration.
DROP TABLE schedules;
CREATE TABLE schedules (
    name          TEXT PRIMARY KEY CHECK (length(name) BETWEEN 1 AND 100),
    workflow      TEXT NOT NULL,
    version       INTEGER NOT NULL,
    cron          TEXT NOT NULL,
    time_zone     TEXT NOT NULL,                 -- an IANA name, or UTC
    overlap       TEXT NOT NULL CHECK (overlap IN ('skip','queue','allow','cancel_other')),
    key           TEXT,                          -- of its instances; NULL: none
    on_stuck      TEXT NOT NULL CHECK (on_stuck IN ('keep_key','release_key')),
    catch_up_ms   INTEGER NOT NULL CHECK (catch_up_ms >= 0),
    jitter_ms     INTEGER NOT NULL CHECK (jitter_ms >= 0),
    input         INTEGER NOT NULL,              -- a payload of its own
    next_at_ms    INTEGER,                       -- the next nominal time; NULL: none, see error
    due_at_ms     INTEGER,                       -- that and its jitter; NULL while paused
    paused_at_ms  INTEGER,
    last_at_ms    INTEGER,                       -- the nominal time that was decided last …
    last_outcome  TEXT CHECK (last_outcome IN ('started','skipped','missed')),
    last_instance TEXT,                          -- id of the last instance that it started
    started       INTEGER NOT NULL DEFAULT 0,
    skipped       INTEGER NOT NULL DEFAULT 0,    -- by its overlap policy
    missed        INTEGER NOT NULL DEFAULT 0,    -- older than catch_up_ms when a server came to it
    error         TEXT,                          -- why there is no next time
    created_at_ms INTEGER NOT NULL,
    updated_at_ms INTEGER NOT NULL,
    CHECK (paused_at_ms IS NULL OR due_at_ms IS NULL),
    CHECK ((last_at_ms IS NULL) = (last_outcome IS NULL))
) STRICT;
-- The scheduler: the smallest due time, asked with every claim.
CREATE INDEX schedules_due ON schedules(due_at_ms) WHERE due_at_ms IS NOT NULL;
