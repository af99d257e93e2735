/* common/state/state.h */
/*
 * state: what one task remembers: key -> flat bytes, which of them changed since they were last
 * written to the changelog, and how much memory that takes. Knows no Kafka and no features.
 *
 * Shape    a value is flat memory that its owner lays out (little-endian, no pointers), so it is written and
 *          restored as it is, in chunks of at most STATE_CHUNK_BYTES of which only changed ones are dirty. Chunks behind the last one that
 *          was ever changed are its owner's reserve: they are not written, and a restored value ends before them.
 * Order    dirty keys form a queue, oldest first dirty first. `since` is the caller's commit number at
 *          the moment a key became dirty: the oldest one says how far back inputs must be re-read.
 * Hash     SipHash with a random key: keys that collide cannot be prepared. No order of iteration is promised.
 * Limit    over limit_bytes state_get returns NULL with ERR_FATAL that names used and allowed bytes. What the allocator takes besides counts.
 * Owner    an entry lives until state_drop or state_free; its value moves when it grows (state_resize).
 * Threads  one.
 */
#ifndef STATE_STATE_H
#define STATE_STATE_H

#include "base/bytes.h"
#include "base/err.h"

#define STATE_CHUNK_BYTES ((size_t)64 * 1024)

struct state;

struct entry {
    struct view key; /* owned by the entry */
    uint8_t *value;  /* n_bytes, zeroed when grown */
    size_t n_bytes;
    uint32_t reflects; /* restore: index of the positions that the value reflects + 1; 0: none */
    /* the rest is state.c's: dirty chunks (amid a restore: those that have come), links */
    uint32_t n_words;
    union {
        uint64_t bits;     /* of up to 64 chunks, or */
        uint64_t *words;   /* as many as n_words says */
    } dirty;
    int64_t since;
    struct entry *dirty_next;
    uint32_t n_chunks; /* up to the last that was ever dirty, or as a restore was told; 0: one */
    bool is_dirty, is_written;
};

struct state *state_new(size_t limit_bytes);
void state_free(struct state *s);

struct entry *state_find(struct state *s, struct view key);
struct entry *state_get(struct state *s, struct view key, struct error *err); /* found or made, value empty */
/* The same for who has the key's hash; and, for who has many keys, what may make the memory come near before it is looked at. */
uint64_t state_hash(const struct state *s, struct view key);
void state_expect(const struct state *s, uint64_t hash);       /* the table, */
void state_expect_entry(const struct state *s, uint64_t hash); /* then the entry that is likely to be the key's */
struct entry *state_find_hashed(const struct state *s, struct view key, uint64_t hash);
struct entry *state_get_hashed(struct state *s, struct view key, uint64_t hash, struct error *err);
enum status state_resize(struct state *s, struct entry *e, size_t n_bytes, struct error *err);

/* All entries in the order of their keys' bytes, *ret_n of them; until the next key is made. The first call sorts all, a later one what
 * came since. */
struct entry *const *state_in_order(struct state *s, size_t *ret_n);

/* value[offset, offset + n) was or will be changed in the work of commit number `commit`. */
void state_dirty(struct state *s, struct entry *e, size_t offset, size_t n, int64_t commit);

/* The next dirty chunk, oldest key first; false when there is none. The chunk is clean afterwards. */
struct state_chunk {
    struct entry *entry;
    uint32_t index;    /* of this chunk */
    uint32_t n_chunks; /* of the value now, without a reserve */
    struct view bytes;
    bool more; /* of this key: they belong into the same commit, or a restore would mix two moments */
};
bool state_next_chunk(struct state *s, struct state_chunk *ret_chunk);
/* The oldest `since` among dirty keys, or INT64_MAX when all is clean. */
int64_t state_since_min(const struct state *s);

/* Of the keys that are dirty, about. */
size_t state_dirty_bytes(const struct state *s);

/* Restore: puts a chunk back (clean), instead of an earlier one. Its numbers are from outside: ERR_FATAL where they cannot be. */
enum status state_restore(struct state *s, struct entry *e, int64_t index, int64_t n_chunks, struct view chunk,
                          uint32_t reflects, struct error *err);
/* Once all chunks are back: whether none is missing, and `check`, or NULL, takes the values of several; those of one are the caller's to check. */
typedef enum status state_check_fn(void *ctx, struct view value, struct error *err);
enum status state_restored(struct state *s, state_check_fn *check, void *ctx, struct error *err);

size_t state_n_keys(const struct state *s);
size_t state_n_written(const struct state *s); /* keys that state_next_chunk gave or that were restored: a changelog has them */
size_t state_bytes(const struct state *s);

#endif
