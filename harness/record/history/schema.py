"""Tables and views of the history, and the steps from each version of them to the next.

A step is never edited once it was released: a history of that version exists somewhere.
Tables have names in the singular; the views, in the plural, are what people and other tools read:
their columns only ever grow.
"""

from __future__ import annotations

APPLICATION = 0x68746C62
"""PRAGMA application_id: "htlb"."""

_FIRST = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('readable_from', '1');

CREATE TABLE run (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    started TEXT NOT NULL,
    command TEXT NOT NULL,
    host TEXT NOT NULL,
    folder TEXT NOT NULL,
    size INTEGER NOT NULL DEFAULT -1,
    changed INTEGER NOT NULL DEFAULT -1,
    settled INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX run_unsettled ON run (settled) WHERE settled = 0;

CREATE TABLE kernel (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    content_id TEXT NOT NULL,
    release TEXT NOT NULL,
    source TEXT NOT NULL,
    compiler TEXT NOT NULL,
    patches TEXT NOT NULL,
    dropped TEXT NOT NULL,
    config BLOB,
    UNIQUE (name, content_id, release)
);

CREATE TABLE trial (
    id INTEGER PRIMARY KEY,
    run INTEGER NOT NULL REFERENCES run (id) ON DELETE CASCADE,
    folder TEXT NOT NULL,
    test_case TEXT NOT NULL,
    verdict TEXT NOT NULL,
    oracle TEXT NOT NULL,
    reason TEXT NOT NULL,
    started TEXT NOT NULL,
    kernel INTEGER NOT NULL REFERENCES kernel (id),
    machine TEXT NOT NULL,
    boot_seconds REAL NOT NULL,
    run_seconds REAL NOT NULL,
    asked_seconds INTEGER NOT NULL,
    first_splat_seconds REAL,
    repeat TEXT NOT NULL,
    signature TEXT NOT NULL DEFAULT '',
    UNIQUE (run, folder)
);
CREATE INDEX trial_cell ON trial (test_case, kernel, verdict);
CREATE INDEX trial_kernel ON trial (kernel);
CREATE INDEX trial_started ON trial (started);
CREATE INDEX trial_signature ON trial (signature) WHERE signature <> '';

CREATE TABLE splat (
    trial INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
    place_in_trial INTEGER NOT NULL,
    at_boot INTEGER NOT NULL,
    signature TEXT NOT NULL,
    race_key TEXT NOT NULL,
    family TEXT NOT NULL,
    kind TEXT NOT NULL,
    title TEXT NOT NULL,
    function TEXT NOT NULL,
    place TEXT NOT NULL,
    PRIMARY KEY (trial, at_boot, place_in_trial)
) WITHOUT ROWID;
CREATE INDEX splat_signature ON splat (signature, trial);
CREATE INDEX splat_race ON splat (race_key, trial);

CREATE TABLE counter (
    trial INTEGER NOT NULL REFERENCES trial (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    source TEXT NOT NULL,
    value INTEGER,
    least INTEGER,
    PRIMARY KEY (trial, name, source)
) WITHOUT ROWID;

CREATE TABLE document (
    trial INTEGER PRIMARY KEY REFERENCES trial (id) ON DELETE CASCADE,
    json BLOB NOT NULL
);

CREATE VIEW runs AS
SELECT run.name AS run, run.started, run.command, run.folder, count(trial.id) AS trials,
       count(CASE trial.verdict WHEN 'PASS' THEN 1 END) AS passed,
       count(CASE trial.verdict WHEN 'FAIL' THEN 1 END) AS failed,
       count(CASE WHEN trial.verdict NOT IN ('PASS', 'FAIL') THEN 1 END) AS undecided
FROM run LEFT JOIN trial ON trial.run = run.id GROUP BY run.id;

CREATE VIEW trials AS
SELECT trial.id, run.name AS run, trial.folder, trial.test_case, kernel.name AS kernel,
       kernel.release, kernel.content_id, trial.machine, trial.verdict, trial.oracle, trial.reason,
       trial.signature, trial.started, trial.boot_seconds, trial.run_seconds, trial.asked_seconds,
       trial.first_splat_seconds, trial.repeat
FROM trial JOIN run ON run.id = trial.run JOIN kernel ON kernel.id = trial.kernel;

CREATE VIEW splats AS
SELECT splat.signature, splat.race_key, splat.family, splat.kind, splat.title, splat.function,
       splat.place, splat.at_boot, splat.place_in_trial, trial.id AS trial, trial.test_case,
       kernel.name AS kernel, kernel.release, trial.started
FROM splat JOIN trial ON trial.id = splat.trial JOIN kernel ON kernel.id = trial.kernel;

CREATE VIEW signatures AS
SELECT splat.signature, splat.race_key, splat.title, splat.function,
       min(trial.started) AS first_seen, max(trial.started) AS last_seen,
       count(DISTINCT trial.id) AS trials, count(DISTINCT trial.kernel) AS kernels
FROM splat JOIN trial ON trial.id = splat.trial
WHERE NOT splat.at_boot GROUP BY splat.signature;

CREATE VIEW rates AS
SELECT trial.test_case, kernel.name AS kernel, kernel.release, kernel.content_id,
       count(CASE trial.verdict WHEN 'FAIL' THEN 1 END) AS failed,
       count(CASE WHEN trial.verdict IN ('PASS', 'FAIL') THEN 1 END) AS decided,
       count(*) AS trials, min(trial.started) AS first_run, max(trial.started) AS last_run
FROM trial JOIN kernel ON kernel.id = trial.kernel GROUP BY trial.test_case, trial.kernel;

CREATE VIEW kernels AS
SELECT kernel.name AS kernel, kernel.release, kernel.content_id, kernel.source, kernel.compiler,
       kernel.patches, kernel.dropped, count(trial.id) AS trials,
       min(trial.started) AS first_run, max(trial.started) AS last_run
FROM kernel LEFT JOIN trial ON trial.kernel = kernel.id GROUP BY kernel.id;

CREATE VIEW counters AS
SELECT counter.name, counter.source, counter.value, counter.least, trial.id AS trial,
       trial.test_case, kernel.name AS kernel, trial.verdict, trial.started
FROM counter JOIN trial ON trial.id = counter.trial JOIN kernel ON kernel.id = trial.kernel;
"""

# What came of another report of its trial is no bug beside it.
_FOLLOWS = """
ALTER TABLE splat ADD COLUMN follows INTEGER;
ALTER TABLE splat ADD COLUMN assertion TEXT NOT NULL DEFAULT '';

DROP VIEW splats;
CREATE VIEW splats AS
SELECT splat.signature, splat.race_key, splat.family, splat.kind, splat.title, splat.function,
       splat.place, splat.at_boot, splat.place_in_trial, trial.id AS trial, trial.test_case,
       kernel.name AS kernel, kernel.release, trial.started, splat.follows, splat.assertion
FROM splat JOIN trial ON trial.id = splat.trial JOIN kernel ON kernel.id = trial.kernel;

DROP VIEW signatures;
CREATE VIEW signatures AS
SELECT splat.signature, splat.race_key, splat.title, splat.function,
       min(trial.started) AS first_seen, max(trial.started) AS last_seen,
       count(DISTINCT trial.id) AS trials, count(DISTINCT trial.kernel) AS kernels,
       count(DISTINCT CASE WHEN splat.follows IS NULL THEN trial.id END) AS trials_of_its_own
FROM splat JOIN trial ON trial.id = splat.trial
WHERE NOT splat.at_boot GROUP BY splat.signature;
"""

# Which build of its reproducer a trial ran: counts of two are no counts of one thing.
_REPRODUCER = """
ALTER TABLE trial ADD COLUMN reproducer TEXT NOT NULL DEFAULT '';

DROP VIEW trials;
CREATE VIEW trials AS
SELECT trial.id, run.name AS run, trial.folder, trial.test_case, kernel.name AS kernel,
       kernel.release, kernel.content_id, trial.machine, trial.verdict, trial.oracle, trial.reason,
       trial.signature, trial.started, trial.boot_seconds, trial.run_seconds, trial.asked_seconds,
       trial.first_splat_seconds, trial.repeat, trial.reproducer
FROM trial JOIN run ON run.id = trial.run JOIN kernel ON kernel.id = trial.kernel;

DROP VIEW rates;
CREATE VIEW rates AS
SELECT trial.test_case, kernel.name AS kernel, kernel.release, kernel.content_id,
       count(CASE trial.verdict WHEN 'FAIL' THEN 1 END) AS failed,
       count(CASE WHEN trial.verdict IN ('PASS', 'FAIL') THEN 1 END) AS decided,
       count(*) AS trials, min(trial.started) AS first_run, max(trial.started) AS last_run,
       trial.reproducer
FROM trial JOIN kernel ON kernel.id = trial.kernel
GROUP BY trial.test_case, trial.kernel, trial.reproducer;
"""

STEPS: tuple[str, ...] = (_FIRST, _FOLLOWS, _REPRODUCER)
"""STEPS[n] leads from version n to version n + 1."""

VERSION = len(STEPS)
