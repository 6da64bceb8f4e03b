-- Sheaf's store, version 1. Migrations are append-only: a change is a new file with the next number.
-- Times named *_at are milliseconds since 1970 and are only ever shown; *_left are milliseconds that remain.

CREATE TABLE setting (
    key TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- ---- upstream ----

CREATE TABLE source (
    url TEXT NOT NULL PRIMARY KEY,
    sighting INTEGER NOT NULL,
    polled_at INTEGER NOT NULL,
    error TEXT,
    failures INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE ref (
    source TEXT NOT NULL REFERENCES source,
    name TEXT NOT NULL,
    "commit" TEXT NOT NULL,
    pending_commit TEXT,
    missing INTEGER NOT NULL,
    deleted INTEGER NOT NULL CHECK (deleted IN (0, 1)),
    PRIMARY KEY (source, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE context (
    source TEXT NOT NULL,
    "commit" TEXT NOT NULL,
    path TEXT NOT NULL,
    dockerfile TEXT NOT NULL,
    id TEXT,
    dockerfile_text TEXT,
    error TEXT,
    known INTEGER NOT NULL CHECK (known IN (0, 1)),
    "exists" INTEGER NOT NULL CHECK ("exists" IN (0, 1)),
    time INTEGER NOT NULL,
    size INTEGER NOT NULL,
    PRIMARY KEY (source, "commit", path, dockerfile)
) STRICT, WITHOUT ROWID;

-- The commit time with which a context was first seen: its SOURCE_DATE_EPOCH, in seconds.
CREATE TABLE epoch (
    source TEXT NOT NULL,
    context_id TEXT NOT NULL,
    time INTEGER NOT NULL,
    PRIMARY KEY (source, context_id)
) STRICT, WITHOUT ROWID;

-- Images from outside the farm that recipes are built on.
CREATE TABLE base (
    reference TEXT NOT NULL PRIMARY KEY,
    digest TEXT,
    children TEXT,
    error TEXT,
    checked_at INTEGER NOT NULL,
    failures INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- ---- what is in or out of date ----

CREATE TABLE track (
    id TEXT NOT NULL PRIMARY KEY,
    image TEXT NOT NULL,
    ref TEXT NOT NULL,
    variant TEXT,
    dormant INTEGER NOT NULL CHECK (dormant IN (0, 1)),
    deleted INTEGER NOT NULL CHECK (deleted IN (0, 1)),
    held INTEGER NOT NULL CHECK (held IN (0, 1)),
    hold_reason TEXT,
    superseded INTEGER NOT NULL,
    publication INTEGER NOT NULL, -- its last verified one; 0: none
    build INTEGER NOT NULL,       -- its latest; 0: none
    wait_left INTEGER NOT NULL    -- -1: it waits for no ancestor
) STRICT, WITHOUT ROWID;

CREATE TABLE slot (
    track TEXT NOT NULL REFERENCES track,
    platform TEXT NOT NULL,
    rebuild INTEGER NOT NULL,
    no_cache INTEGER NOT NULL CHECK (no_cache IN (0, 1)),
    seen INTEGER NOT NULL CHECK (seen IN (0, 1)),
    retired INTEGER NOT NULL CHECK (retired IN (0, 1)),
    last_key TEXT REFERENCES job,
    PRIMARY KEY (track, platform)
) STRICT, WITHOUT ROWID;

-- ---- building ----

CREATE TABLE job (
    key TEXT NOT NULL PRIMARY KEY,
    platform TEXT NOT NULL,
    repository TEXT NOT NULL,
    image TEXT NOT NULL,
    track TEXT NOT NULL,
    inputs TEXT NOT NULL, -- JSON [[name, value], ...]: what the key is the hash of
    spec TEXT NOT NULL,   -- JSON: the job as a board is told of it
    source TEXT NOT NULL,
    "commit" TEXT NOT NULL,
    path TEXT NOT NULL,
    dockerfile TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('wanted', 'leased', 'running', 'succeeded', 'failed', 'cancelled')),
    kind TEXT NOT NULL
        CHECK (kind IN ('none', 'infra', 'recipe', 'timeout', 'memory', 'rejected', 'poison')),
    reason TEXT,
    settled INTEGER NOT NULL CHECK (settled IN (0, 1)), -- of a cancelled one: by a person
    emulated INTEGER NOT NULL CHECK (emulated IN (0, 1)),
    no_cache INTEGER NOT NULL CHECK (no_cache IN (0, 1)),
    epoch INTEGER NOT NULL,
    recipe_failures INTEGER NOT NULL,
    timeouts INTEGER NOT NULL,
    infra_failures INTEGER NOT NULL,
    losses INTEGER NOT NULL,
    avoid TEXT,
    memory_above INTEGER NOT NULL,
    retry_left INTEGER NOT NULL,
    manifest_digest TEXT,
    manifest_media_type TEXT,
    config_digest TEXT,
    content_digest TEXT,
    manifest_size INTEGER NOT NULL,
    board TEXT,
    wanted_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    duration_ms INTEGER NOT NULL,
    attempt INTEGER NOT NULL, -- its last; 0: none
    class TEXT NOT NULL CHECK (class IN ('person', 'source', 'ripple')),
    CHECK (state <> 'succeeded' OR (manifest_digest IS NOT NULL AND content_digest IS NOT NULL))
) STRICT, WITHOUT ROWID;

CREATE TABLE attempt (
    id INTEGER NOT NULL PRIMARY KEY,
    lease TEXT NOT NULL UNIQUE,
    job_key TEXT NOT NULL REFERENCES job,
    epoch INTEGER NOT NULL,
    board TEXT NOT NULL,
    secret TEXT, -- while it lives
    state TEXT NOT NULL
        CHECK (state IN ('granted', 'running', 'succeeded', 'failed', 'lost', 'cancelled')),
    kind TEXT NOT NULL,
    reason TEXT,
    granted_at INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    log_size INTEGER NOT NULL,
    UNIQUE (job_key, epoch)
) STRICT;

CREATE INDEX attempt_live ON attempt (id) WHERE secret IS NOT NULL;

-- What an attempt brought, as JSON: milliseconds of each phase, layers, packages of the image and of the build
-- root.
CREATE TABLE result (
    attempt INTEGER NOT NULL PRIMARY KEY REFERENCES attempt,
    job_key TEXT NOT NULL,
    timings TEXT,
    layers TEXT,
    packages TEXT,
    build_root TEXT
) STRICT;

CREATE TABLE build (
    id INTEGER NOT NULL PRIMARY KEY,
    track TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('waiting', 'running', 'held', 'publishing', 'published', 'unchanged', 'failed',
                         'superseded', 'cancelled')),
    class TEXT NOT NULL CHECK (class IN ('person', 'source', 'ripple')),
    why_code TEXT NOT NULL,
    why TEXT,
    end_code TEXT NOT NULL,
    "end" TEXT,
    "commit" TEXT,
    publication INTEGER NOT NULL, -- 0: none
    created_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL  -- 0: under way
) STRICT;

CREATE INDEX build_track ON build (track, id);
CREATE INDEX build_live ON build (id) WHERE finished_at = 0;

CREATE TABLE build_job (
    build INTEGER NOT NULL REFERENCES build,
    platform TEXT NOT NULL,
    job_key TEXT NOT NULL REFERENCES job,
    required INTEGER NOT NULL CHECK (required IN (0, 1)),
    PRIMARY KEY (build, platform)
) STRICT, WITHOUT ROWID;

CREATE INDEX build_job_key ON build_job (job_key);

-- ---- publishing ----

CREATE TABLE publication (
    id INTEGER NOT NULL PRIMARY KEY,
    repository TEXT NOT NULL,
    track TEXT NOT NULL,
    build INTEGER NOT NULL,
    generation INTEGER NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('prepared', 'children', 'index', 'tags', 'verified', 'abandoned')),
    digest TEXT NOT NULL,
    media_type TEXT NOT NULL,
    bytes TEXT NOT NULL,    -- of the index, serialised once
    children TEXT NOT NULL, -- JSON [{platform, digest, size, media_type, content, key, packing}, ...]
    error TEXT,
    created_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    UNIQUE (repository, generation)
) STRICT;

CREATE INDEX publication_live ON publication (id) WHERE state NOT IN ('verified', 'abandoned');

CREATE TABLE publication_tag (
    publication INTEGER NOT NULL REFERENCES publication,
    ordinal INTEGER NOT NULL,
    tag TEXT NOT NULL,
    digest TEXT NOT NULL,
    "index" INTEGER NOT NULL CHECK ("index" IN (0, 1)), -- 0: names one platform's child
    done INTEGER NOT NULL CHECK (done IN (0, 1)),
    PRIMARY KEY (publication, ordinal)
) STRICT, WITHOUT ROWID;

CREATE TABLE tag (
    repository TEXT NOT NULL,
    name TEXT NOT NULL,
    track TEXT NOT NULL,
    publication INTEGER NOT NULL REFERENCES publication,
    generation INTEGER NOT NULL,
    digest TEXT NOT NULL,
    PRIMARY KEY (repository, name)
) STRICT, WITHOUT ROWID;

-- ---- boards ----

CREATE TABLE board (
    name TEXT NOT NULL PRIMARY KEY,
    secret_hash TEXT NOT NULL UNIQUE,
    facts TEXT, -- JSON, as its agent said
    state TEXT NOT NULL
        CHECK (state IN ('joining', 'online', 'draining', 'offline', 'quarantined')),
    blames INTEGER NOT NULL,
    joined_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
