-- A CHECK that names more than two words as IN (…) makes SQLite build a table of them each time that a
-- row is written: six of them for a row of instances, one for an entry. Said with OR, a check asks for
-- one word after the other, the most frequent ones first. What is allowed stays the same, so only the
-- text of the schema changes (https://sqlite.org/lang_altertable.html, on changing CHECK constraints).

-- Others that have the file open read the schema anew.
CREATE TABLE reread(seq INTEGER) STRICT;
DROP TABLE reread;

PRAGMA writable_schema=ON;
UPDATE sqlite_schema SET sql = replace(replace(replace(replace(replace(replace(sql,
    'state IN (''pending'',''queued'',''running'',''sleeping'',''waiting'',
                                                   ''stuck'',''completed'',''failed'',''cancelled'')',
    '(state = ''running'' OR state = ''pending'' OR state = ''completed'' OR
     state = ''sleeping'' OR state = ''queued'' OR state = ''waiting'' OR state = ''stuck'' OR
     state = ''failed'' OR state = ''cancelled'')'),
    'waits_for IN (''retry'',''circuit'',''timer'',''signal'',''child'',''key'',
                                              ''once'',''pause'')',
    '(waits_for = ''retry'' OR waits_for = ''circuit'' OR waits_for = ''timer'' OR
     waits_for = ''signal'' OR waits_for = ''child'' OR waits_for = ''key'' OR
     waits_for = ''once'' OR waits_for = ''pause'')'),
    'on_parent_close IN (''abandon'',''cancel'',''await'')',
    '(on_parent_close = ''abandon'' OR on_parent_close = ''cancel'' OR
     on_parent_close = ''await'')'),
    'state IN (''completed'',''failed'',''cancelled'')',
    '(state = ''completed'' OR state = ''failed'' OR state = ''cancelled'')'),
    'state IN (''pending'',''running'',''sleeping'',''waiting'')',
    '(state = ''running'' OR state = ''pending'' OR state = ''sleeping'' OR state = ''waiting'')'),
    'state NOT IN (''queued'',''completed'',''failed'',''cancelled'')',
    'NOT (state = ''completed'' OR state = ''queued'' OR state = ''failed'' OR
     state = ''cancelled'')')
    WHERE type = 'table' AND name = 'instances';
UPDATE sqlite_schema SET sql = replace(sql,
    'kind IN (''started'',''completed'',''retried'',''failed'',''resumed'',''stuck'',
                                             ''key'',''timer'',''signal'',''child'',''published'',''undone'',
                                             ''skipped'',''cancelled'',''moved'',''recorded'')',
    '(kind = ''started'' OR kind = ''completed'' OR kind = ''retried'' OR kind = ''failed'' OR
     kind = ''resumed'' OR kind = ''stuck'' OR kind = ''key'' OR kind = ''timer'' OR
     kind = ''signal'' OR kind = ''child'' OR kind = ''published'' OR kind = ''undone'' OR
     kind = ''skipped'' OR kind = ''cancelled'' OR kind = ''moved'' OR kind = ''recorded'')')
    WHERE type = 'table' AND name = 'entries';
UPDATE sqlite_schema SET sql = replace(sql,
    'disposition IN (''routed'',''ignored'',''quarantined'')',
    '(disposition = ''routed'' OR disposition = ''ignored'' OR disposition = ''quarantined'')')
    WHERE type = 'table' AND name = 'events';
UPDATE sqlite_schema SET sql = replace(sql,
    'state IN (''claimed'',''in_doubt'',''free'',''completed'')',
    '(state = ''claimed'' OR state = ''completed'' OR state = ''in_doubt'' OR state = ''free'')')
    WHERE type = 'table' AND name = 'once_keys';
UPDATE sqlite_schema SET sql = replace(sql,
    'state IN (''completed'',''failed'',''cancelled'')',
    '(state = ''completed'' OR state = ''failed'' OR state = ''cancelled'')')
    WHERE type = 'table' AND name = 'ended_instances';
UPDATE sqlite_schema SET sql = replace(sql,
    'disposition IN (''routed'',''ignored'',''quarantined'')',
    '(disposition = ''routed'' OR disposition = ''ignored'' OR disposition = ''quarantined'')')
    WHERE type = 'table' AND name = 'received_events';
PRAGMA writable_schema=RESET;
