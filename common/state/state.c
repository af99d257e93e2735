#include "state/state.h"

#include <inttypes.h>
#include <stdlib.h>
#include <sys/random.h>

#include "base/arena.h"
#include "base/siphash.h"

struct slot {
    uint64_t hash;
    struct entry *entry;
};

struct state {
    uint64_t hash_key[2];
    struct slot *slots; /* open addressing, power of two, at most 3/4 full */
    size_t n_slots;
    size_t n_keys, n_written;
    size_t used_bytes;
    size_t limit_bytes;
    struct entry *dirty_first, *dirty_last;
    size_t n_dirty;
    uint32_t chunk_next; /* of the first dirty entry */
    struct entry **ordered; /* by key, the first n_ordered of them; then those that were made since; NULL: nobody asked */
    size_t n_ordered, n_listed, cap_listed;
};

/* What an allocation takes: glibc's header and rounding. */
static size_t heap_bytes(size_t n)
{
    return n <= 24 ? 32 : (n + 8 + 15) / 16 * 16;
}

struct state *state_new(size_t limit_bytes)
{
    struct state *s = xcalloc(1, sizeof(*s));

    s->limit_bytes = limit_bytes;
    s->n_slots = 64;
    s->slots = xcalloc(s->n_slots, sizeof(*s->slots));
    s->used_bytes = sizeof(*s) + s->n_slots * sizeof(*s->slots);
    if (getrandom(s->hash_key, sizeof(s->hash_key), 0) != (ssize_t)sizeof(s->hash_key))
        s->hash_key[0] = (uint64_t)(uintptr_t)s; /* no entropy yet at boot: an address will do */
    return s;
}

void state_free(struct state *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n_slots; i++)
        if (s->slots[i].entry) {
            if (s->slots[i].entry->n_words)
                free(s->slots[i].entry->dirty.words);
            free(s->slots[i].entry->value);
            free(s->slots[i].entry);
        }
    free(s->slots);
    free(s->ordered);
    free(s);
}

static struct slot *slot_of(const struct state *s, uint64_t hash, struct view key)
{
    size_t i = hash & (s->n_slots - 1);

    while (s->slots[i].entry && !(s->slots[i].hash == hash && view_eq(s->slots[i].entry->key, key)))
        i = (i + 1) & (s->n_slots - 1);
    return &s->slots[i];
}

struct entry *state_find(struct state *s, struct view key)
{
    return state_find_hashed(s, key, state_hash(s, key));
}

uint64_t state_hash(const struct state *s, struct view key)
{
    return siphash(s->hash_key, key);
}

void state_expect(const struct state *s, uint64_t hash)
{
    __builtin_prefetch(&s->slots[hash & (s->n_slots - 1)]);
}

void state_expect_entry(const struct state *s, uint64_t hash)
{
    const struct entry *e = s->slots[hash & (s->n_slots - 1)].entry;

    if (e == NULL)
        return;
    __builtin_prefetch(e);
    __builtin_prefetch(e + 1); /* the key */
}

struct entry *state_find_hashed(const struct state *s, struct view key, uint64_t hash)
{
    return slot_of(s, hash, key)->entry;
}

static void grow(struct state *s)
{
    struct slot *old = s->slots;
    size_t n = s->n_slots;

    s->n_slots *= 2;
    s->used_bytes += n * sizeof(*old);
    s->slots = xcalloc(s->n_slots, sizeof(*s->slots));
    for (size_t i = 0; i < n; i++)
        if (old[i].entry)
            *slot_of(s, old[i].hash, old[i].entry->key) = old[i];
    free(old);
}

static enum status check_limit(const struct state *s, size_t more, struct error *err)
{
    if (s->used_bytes + more <= s->limit_bytes)
        return OK;
    return err_set(err, ERR_FATAL,
                   "its state needs %zu bytes for %zu keys, %zu are allowed: give the stage more \"memory\", or run more "
                   "instances; it goes on from what it has committed", s->used_bytes + more, s->n_keys, s->limit_bytes);
}

static void list(struct state *s, struct entry *e)
{
    if (s->n_listed == s->cap_listed) {
        size_t cap = s->cap_listed ? s->cap_listed * 2 : 64;

        s->used_bytes += (cap - s->cap_listed) * sizeof(*s->ordered);
        s->ordered = xrealloc(s->ordered, cap * sizeof(*s->ordered));
        s->cap_listed = cap;
    }
    s->ordered[s->n_listed++] = e;
}

struct entry *state_get(struct state *s, struct view key, struct error *err)
{
    return state_get_hashed(s, key, state_hash(s, key), err);
}

struct entry *state_get_hashed(struct state *s, struct view key, uint64_t hash, struct error *err)
{
    struct slot *slot = slot_of(s, hash, key);
    struct entry *e = slot->entry;
    bool full = s->n_keys * 4 >= s->n_slots * 3;

    if (e)
        return e;
    if (check_limit(s, heap_bytes(sizeof(*e) + key.n) + (full ? 2 * s->n_slots * sizeof(*slot) : 0), err) != OK)
        return NULL; /* while the table grows, the former one is there too */
    if (full) {
        grow(s);
        slot = slot_of(s, hash, key);
    }
    e = xcalloc(1, sizeof(*e) + key.n);
    if (key.n)
        memcpy(e + 1, key.data, key.n);
    e->key = view_of(e + 1, key.n);
    *slot = (struct slot){hash, e};
    s->n_keys++;
    s->used_bytes += heap_bytes(sizeof(*e) + key.n);
    if (s->ordered)
        list(s, e);
    return e;
}

/* ---- in order ---- */

static int by_key(const void *a, const void *b)
{
    struct view x = (*(struct entry *const *)a)->key, y = (*(struct entry *const *)b)->key;
    size_t n = x.n < y.n ? x.n : y.n;
    int c = n ? memcmp(x.data, y.data, n) : 0;

    return c ? c : (x.n > y.n) - (x.n < y.n);
}

/* What was sorted and what came since become one, from the end. */
static void merge_since(struct state *s)
{
    size_t n_since = s->n_listed - s->n_ordered, i = s->n_ordered, k = n_since;
    struct entry **since = xmalloc((n_since + 1) * sizeof(*since));

    memcpy(since, s->ordered + s->n_ordered, n_since * sizeof(*since));
    qsort(since, n_since, sizeof(*since), by_key);
    while (k > 0) {
        bool old = i > 0 && by_key(&s->ordered[i - 1], &since[k - 1]) > 0;
        struct entry *last = old ? s->ordered[i - 1] : since[k - 1];

        s->ordered[i + k - 1] = last;
        i -= old;
        k -= !old;
    }
    s->n_ordered = s->n_listed;
    free(since);
}

struct entry *const *state_in_order(struct state *s, size_t *ret_n)
{
    if (s->ordered == NULL)
        for (size_t i = 0; i < s->n_slots; i++)
            if (s->slots[i].entry)
                list(s, s->slots[i].entry);
    if (s->n_ordered < s->n_listed)
        merge_since(s);
    *ret_n = s->n_listed;
    return s->ordered;
}

/* What it grows by is not zeroed. */
static enum status set_size(struct state *s, struct entry *e, size_t n_bytes, struct error *err)
{
    size_t had = e->value ? heap_bytes(e->n_bytes) : 0, has = heap_bytes(n_bytes);

    if (e->value && n_bytes == e->n_bytes)
        return OK;
    if (has > had && check_limit(s, has - had, err) != OK)
        return ERR_FATAL;
    s->used_bytes += has - had;
    e->value = xrealloc(e->value, n_bytes ? n_bytes : 1);
    e->n_bytes = n_bytes;
    return OK;
}

static enum status set_size_zeroed(struct state *s, struct entry *e, size_t n_bytes, struct error *err)
{
    size_t had = e->n_bytes;

    if (set_size(s, e, n_bytes, err) != OK)
        return ERR_FATAL;
    if (n_bytes > had)
        memset(e->value + had, 0, n_bytes - had);
    return OK;
}

static uint32_t chunks_of(const struct entry *e)
{
    return e->n_bytes == 0 ? 1 : (uint32_t)((e->n_bytes + STATE_CHUNK_BYTES - 1) / STATE_CHUNK_BYTES);
}

static uint64_t *dirty_word(struct entry *e, size_t chunk)
{
    return e->n_words ? &e->dirty.words[chunk / 64] : &e->dirty.bits;
}

/* A value of more chunks than there are bits gets twice as many. */
static void widen(struct state *s, struct entry *e, size_t chunk)
{
    uint32_t had = e->n_words ? e->n_words : 1, n = had;
    uint64_t *words;

    while (n <= chunk / 64)
        n *= 2;
    if (n == had)
        return;
    words = xcalloc(n, sizeof(*words));
    memcpy(words, e->n_words ? e->dirty.words : &e->dirty.bits, had * sizeof(*words));
    if (e->n_words)
        free(e->dirty.words);
    s->used_bytes += (n - e->n_words) * sizeof(*words);
    e->dirty.words = words;
    e->n_words = n;
}

static bool chunk_is_dirty(struct entry *e, size_t chunk)
{
    if (chunk >= 64 * (size_t)(e->n_words ? e->n_words : 1))
        return false;
    return *dirty_word(e, chunk) >> (chunk % 64) & 1;
}

/* Up to the last one that was ever changed. */
static uint32_t written_chunks(const struct entry *e)
{
    return e->n_chunks ? e->n_chunks : 1;
}

enum status state_resize(struct state *s, struct entry *e, size_t n_bytes, struct error *err)
{
    if (set_size_zeroed(s, e, n_bytes, err) != OK)
        return ERR_FATAL;
    if (e->n_chunks > chunks_of(e))
        e->n_chunks = chunks_of(e);
    return OK;
}

void state_dirty(struct state *s, struct entry *e, size_t offset, size_t n, int64_t commit)
{
    size_t first = offset / STATE_CHUNK_BYTES, last = (offset + (n ? n - 1 : 0)) / STATE_CHUNK_BYTES;

    if (last >= 64)
        widen(s, e, last);
    if (last >= written_chunks(e)) { /* those between were never written */
        first = first < written_chunks(e) ? first : written_chunks(e);
        e->n_chunks = (uint32_t)last + 1;
    }
    for (size_t c = first; c <= last; c++)
        *dirty_word(e, c) |= (uint64_t)1 << (c % 64);
    if (e->is_dirty)
        return;
    e->is_dirty = true;
    s->n_dirty++;
    e->since = commit;
    e->dirty_next = NULL;
    if (s->dirty_last)
        s->dirty_last->dirty_next = e;
    else
        s->dirty_first = e;
    s->dirty_last = e;
}

static void clear_chunks(struct entry *e)
{
    memset(e->n_words ? e->dirty.words : &e->dirty.bits, 0, (e->n_words ? e->n_words : 1) * sizeof(uint64_t));
}

static void clean_first(struct state *s)
{
    struct entry *e = s->dirty_first;

    s->dirty_first = e->dirty_next;
    if (s->dirty_first == NULL)
        s->dirty_last = NULL;
    e->is_dirty = false;
    s->n_dirty--;
    clear_chunks(e);
    e->dirty_next = NULL;
    s->chunk_next = 0;
}

static void set_written(struct state *s, struct entry *e)
{
    s->n_written += !e->is_written;
    e->is_written = true;
}

/* Chunk 0 goes with every change: it has the size that tells a reader how many chunks are valid. */
bool state_next_chunk(struct state *s, struct state_chunk *ret_chunk)
{
    while (s->dirty_first) {
        struct entry *e = s->dirty_first;
        uint32_t n = written_chunks(e);

        for (uint32_t c = s->chunk_next; c < n; c++) {
            size_t from = c * STATE_CHUNK_BYTES;
            size_t size = e->n_bytes - from < STATE_CHUNK_BYTES ? e->n_bytes - from : STATE_CHUNK_BYTES;

            if (c != 0 && !chunk_is_dirty(e, c))
                continue;
            set_written(s, e);
            *ret_chunk = (struct state_chunk){e, c, n, view_of(e->value + from, size), false};
            s->chunk_next = c + 1;
            for (c++; c < n; c++)
                if (chunk_is_dirty(e, c))
                    return ret_chunk->more = true;
            clean_first(s);
            return true;
        }
        clean_first(s);
    }
    return false;
}

int64_t state_since_min(const struct state *s)
{
    return s->dirty_first ? s->dirty_first->since : INT64_MAX;
}

size_t state_dirty_bytes(const struct state *s)
{
    return s->n_dirty ? (size_t)((double)s->used_bytes / (double)s->n_keys * (double)s->n_dirty) : 0;
}

/* A value of several chunks comes chunk by chunk, and which of them is newer nobody knows: chunk 0 says how many there are. */
static void has_come(struct state *s, struct entry *e, uint32_t index, uint32_t n_chunks)
{
    if (index >= 64)
        widen(s, e, index);
    *dirty_word(e, index) |= (uint64_t)1 << (index % 64);
    if (e->n_chunks == 0) { /* amid a restore no key is dirty: these stand in that queue */
        e->dirty_next = s->dirty_first;
        s->dirty_first = e;
    }
    if (index == 0 || e->n_chunks == 0)
        e->n_chunks = n_chunks;
}

/* Of a value of several chunks: what lies beyond the last one is of a time when it was larger. */
static enum status make_room(struct state *s, struct entry *e, uint32_t index, uint32_t n_chunks, size_t n, struct error *err)
{
    size_t end = index * STATE_CHUNK_BYTES + n, most = n_chunks * STATE_CHUNK_BYTES;

    if (e->n_bytes < end || (index + 1 == n_chunks && n_chunks == e->n_chunks))
        return set_size_zeroed(s, e, end, err);
    return index == 0 && e->n_bytes > most ? set_size_zeroed(s, e, most, err) : OK;
}

enum status state_restore(struct state *s, struct entry *e, int64_t index, int64_t n_chunks, struct view chunk,
                          uint32_t reflects, struct error *err)
{
    size_t from;

    if (index < 0 || index >= n_chunks || n_chunks > UINT32_MAX || chunk.n > STATE_CHUNK_BYTES ||
        (index + 1 < n_chunks && chunk.n != STATE_CHUNK_BYTES))
        return err_set(err, ERR_FATAL, "chunk %" PRId64 " of %" PRId64 " has %zu bytes", index, n_chunks, chunk.n);
    from = (size_t)index * STATE_CHUNK_BYTES;
    if (n_chunks == 1 ? set_size(s, e, chunk.n, err) != OK : make_room(s, e, (uint32_t)index, (uint32_t)n_chunks, chunk.n, err) != OK)
        return ERR_FATAL;
    if (chunk.n)
        memcpy(e->value + from, chunk.data, chunk.n);
    if (n_chunks > 1 || e->n_chunks)
        has_come(s, e, (uint32_t)index, (uint32_t)n_chunks);
    if (reflects > e->reflects)
        e->reflects = reflects;
    set_written(s, e);
    return OK;
}

static enum status all_came(struct entry *e, struct error *err)
{
    for (uint32_t c = 0; c < e->n_chunks; c++)
        if (!chunk_is_dirty(e, c))
            return err_set(err, ERR_FATAL, "chunk %u of the %u of a key is missing", c, e->n_chunks);
    if (chunks_of(e) != e->n_chunks)
        return err_set(err, ERR_FATAL, "a key of %u chunks has %zu bytes", e->n_chunks, e->n_bytes);
    clear_chunks(e);
    return OK;
}

enum status state_restored(struct state *s, state_check_fn *check, void *ctx, struct error *err)
{
    while (s->dirty_first) {
        struct entry *e = s->dirty_first;

        if (all_came(e, err) != OK || (check && check(ctx, view_of(e->value, e->n_bytes), err) != OK))
            return ERR_FATAL;
        s->dirty_first = e->dirty_next;
        e->dirty_next = NULL;
    }
    return OK;
}

size_t state_n_keys(const struct state *s)
{
    return s->n_keys;
}

size_t state_n_written(const struct state *s)
{
    return s->n_written;
}

size_t state_bytes(const struct state *s)
{
    return s->used_bytes;
}
