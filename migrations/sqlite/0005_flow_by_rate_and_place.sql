-- More of flow control: rates, keys for several at once, starts that are put off, and one attempt at a
-- time for each thing that is updated. Nobody holds a slot when a database is opened, so that table is
-- made anew for a further scope.
DROP TABLE slots;

-- Who is at work under a limit of numbers: until the step's outcome, the end of the claim, or that of
-- the server's life. Nothing is written here where nothing is limited.
CREATE TABLE slots (
    scope    TEXT NOT NULL CHECK (scope IN ('workflow','provider','entity')),
    name     TEXT NOT NULL,
    instance INTEGER NOT NULL,
    step     TEXT NOT NULL,                      -- '' for a workflow's
    PRIMARY KEY (scope, name, instance, step)
) STRICT, WITHOUT ROWID;
-- What an instance that stops running gives back.
CREATE INDEX slots_instance ON slots(instance);

-- Token buckets: who is parked at a rate is in instances. Nothing is written here where no rate is set.
CREATE TABLE rates (
    scope      TEXT NOT NULL CHECK (scope IN ('workflow','provider')),
    name       TEXT NOT NULL,
    full_at_us INTEGER NOT NULL,                 -- when the bucket will be full, in Unix microseconds
    calls      INTEGER NOT NULL,                 -- the rate by which it was filled last: so many …
    period_ms  INTEGER NOT NULL,                 -- … in such a time, …
    burst      INTEGER NOT NULL,                 -- … so many at once
    PRIMARY KEY (scope, name)
) STRICT, WITHOUT ROWID;

-- Instances whose start is put off until a quiet time, and that have not begun: whoever comes meanwhile
-- under the same name brings them another input.
CREATE TABLE debounces (
    workflow TEXT NOT NULL,
    name     TEXT NOT NULL CHECK (name LIKE 'forgotten:%'),  -- a keyed hash from the beginning
    instance INTEGER NOT NULL,
    PRIMARY KEY (workflow, name)
) STRICT, WITHOUT ROWID;
-- One that begins, or ends before that.
CREATE UNIQUE INDEX debounces_instance ON debounces(instance);

-- So many unfinished instances of a key go on beside each other, each in a place of its own: 1, one after
-- another, as before. An instance brings along how many it bears, itself counted; the smallest holds.
ALTER TABLE instances ADD COLUMN key_holders_max INTEGER NOT NULL DEFAULT 1 CHECK (key_holders_max >= 1);
ALTER TABLE instances ADD COLUMN key_place INTEGER NOT NULL DEFAULT 1
    CHECK (key_place BETWEEN 1 AND key_holders_max);
DROP INDEX instances_key_holder;
-- At most one holder of a place, whatever the program believes.
CREATE UNIQUE INDEX instances_key_holder ON instances(key, key_place) WHERE holds_key = 1;

-- The newest version of something outside that a step brought about, or may have: what is older is not
-- brought about after it. Rows outlive instances, as once keys do; they name nobody.
CREATE TABLE applied_versions (
    entity        TEXT PRIMARY KEY CHECK (entity LIKE 'forgotten:%'),  -- a keyed hash from the beginning
    version       INTEGER NOT NULL,
    version_before INTEGER,                      -- … the last attempt, should that be refused
    updated_at_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
