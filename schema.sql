-- The adversarial store: labeled 32x32 images, their adversarial samples, and the model that was attacked.
--
-- One SQLite file holds everything a trainer needs. Read it with anything that speaks SQLite, e.g.
--
--     import sqlite3, numpy, pathlib
--     db = sqlite3.connect(pathlib.Path("adversarial.db").absolute().as_uri() + "?mode=ro", uri=True)
--     for label, pixels in db.execute("SELECT label, pixels FROM image WHERE split = 'test' ORDER BY id"):
--         image = numpy.frombuffer(pixels, numpy.uint8).reshape(3, 32, 32)
--     for row in db.execute("SELECT * FROM attack_summary"): print(row)
--
-- Pixels are 3072 bytes, 3x32x32: the red plane, then green, then blue, each row by row from the top
-- (CIFAR-10's own order). A crc32 is that of zip and zlib over the pixels next to it. Hashes are
-- lower-case hex. The content hash is defined in shared/store/src/hash.rs.
--
-- A file has `complete` = '1' once every image has a sample of every attack; until then a build is
-- under way, or was stopped and can be resumed.
--
-- Attack ids never change: 1 gaussian, 2 fgsm, 3 bim, 4 deepfool, 5 cw, 6 nst, 7 pgd, 8 atta; new ones get new numbers.
--
-- The programs compare a file's statements with these, comments within them included: change
-- anything between CREATE and the semicolon, and user_version must go up by one.

PRAGMA page_size = 16384;
PRAGMA application_id = 0x4D697468; -- "Mith"
PRAGMA user_version = 2;

CREATE TABLE meta (
    -- What was built, how, and with what; all values are text. Keys:
    --   dataset                    the images' name, for people
    --   classes                    a JSON list: what the labels 0, 1, ... mean
    --   source_hash                hash of all labels and images of the data set
    --   seed, preset, limit        as asked for; limit is '' where there was none
    --   shard                      which part of a build this is: 'I/N', '1/1' for the whole
    --   images_train, images_val, images_test      how many images each split has
    --   generator_version          of the program that built the file
    --   created, device            RFC 3339 in UTC; where the attacks ran ('; ' between several)
    --   complete                   '0' or '1'
    --   content_hash               of a complete store, otherwise ''
    --   hash_train, hash_val, hash_test            of each split, likewise
    --   licence                    a note on whose images these are
    --   warnings                   a JSON list: what the programs that built the file warned of
    key   TEXT NOT NULL PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

CREATE TABLE model (
    -- The surrogate: the model that was attacked and that judged the results.
    id      INTEGER PRIMARY KEY,
    name    TEXT NOT NULL,                                   -- architecture and width, for people
    sha256  TEXT NOT NULL CHECK (length(sha256) = 64),       -- of the weights blob
    config  TEXT NOT NULL CHECK (json_valid(config)),        -- architecture, width, mean, std, ...
    weights BLOB NOT NULL                                    -- a safetensors file
) STRICT;

CREATE TABLE attack (
    id       INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE,                           -- such as fgsm
    params   TEXT NOT NULL CHECK (json_valid(params)),       -- every parameter, as resolved
    model_id INTEGER NOT NULL REFERENCES model (id)          -- which it attacked
) STRICT;

CREATE TABLE image (
    -- The clean images.
    id           INTEGER PRIMARY KEY CHECK (id >= 0),        -- also the key of its random numbers
    split        TEXT NOT NULL CHECK (split IN ('train', 'val', 'test')),
    source_index INTEGER NOT NULL CHECK (source_index >= 0), -- position among the source's training
                                                             -- (train, val) or test images
    label        INTEGER NOT NULL CHECK (label >= 0),        -- the true class; meta.classes has its name
    pixels       BLOB NOT NULL CHECK (length(pixels) = 3072),
    crc32        INTEGER NOT NULL CHECK (crc32 BETWEEN 0 AND 4294967295),
    clean_pred   INTEGER NOT NULL CHECK (clean_pred >= 0)    -- the surrogate's prediction for it
) STRICT;

CREATE TABLE sample (
    -- The adversarial samples: one for each image and attack.
    image_id   INTEGER NOT NULL REFERENCES image (id),
    attack_id  INTEGER NOT NULL REFERENCES attack (id),
    pixels     BLOB NOT NULL CHECK (length(pixels) = 3072),
    crc32      INTEGER NOT NULL CHECK (crc32 BETWEEN 0 AND 4294967295),
    pred       INTEGER NOT NULL CHECK (pred >= 0),           -- the surrogate's prediction for these bytes
    pred_float INTEGER NOT NULL CHECK (pred_float >= 0),     -- ... before they were quantized
    l2         REAL NOT NULL CHECK (l2 >= 0),                -- distance from the image's pixels,
    linf       REAL NOT NULL CHECK (linf BETWEEN 0 AND 1),   -- both divided by 255
    steps      INTEGER NOT NULL CHECK (steps >= 0),          -- that the attack took
    UNIQUE (image_id, attack_id)
) STRICT;

CREATE VIEW attack_summary AS
    -- How strong each attack is: the share of its samples that the surrogate still classifies
    -- correctly, how far they are from the clean images, and the share that equals them.
    SELECT image.split            AS split,
           attack.name            AS attack,
           count(*)               AS count,
           avg(sample.pred = image.label) AS surrogate_accuracy,
           avg(sample.l2)         AS mean_l2,
           avg(sample.linf)       AS mean_linf,
           avg(sample.linf = 0)   AS unchanged
    FROM sample
    JOIN image ON image.id = sample.image_id
    JOIN attack ON attack.id = sample.attack_id
    GROUP BY image.split, attack.id
    ORDER BY CASE image.split WHEN 'train' THEN 1 WHEN 'val' THEN 2 ELSE 3 END, attack.id;
