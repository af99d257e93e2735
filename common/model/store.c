#include "model/store.h"

#include <stdio.h>
#include <stdlib.h>

#define PARTS_MAX (UBJ_BYTES_MAX / MODEL_PART_BYTES_MAX)
#define PENDING_BYTES_MAX ((size_t)128 << 20)
#define NAMES_MAX 1000

/* A version of which something is missing. */
struct pending {
    int32_t version;
    bool passed_over;    /* another feature set: its parts are dropped */
    struct bytes record; /* its body, signature verified; n 0: not yet come */
    struct bytes parts[PARTS_MAX];
};

struct shelf { /* all of one model's name */
    char *feature_set; /* expected; NULL: any */
    struct pending **pending;
    size_t n_pending;
    struct model_version *versions;
    size_t n_versions;
    struct routing *routings;
    size_t n_routings;
    struct verdict *verdicts;
    size_t n_verdicts;
    int32_t version_max; /* of signed records */
};

struct model_store {
    const struct sign_keys *trusted;
    struct arena kept;    /* what is accepted */
    struct arena scratch; /* while one record is judged */
    const char **names;
    struct shelf *shelves; /* by index of names */
    size_t n_names;
    size_t pending_bytes;
};

struct model_store *model_store_new(const struct sign_keys *trusted)
{
    struct model_store *s = xcalloc(1, sizeof(*s));

    s->trusted = trusted;
    return s;
}

static void pending_free(struct model_store *s, struct pending *p)
{
    for (size_t i = 0; i < PARTS_MAX; i++) {
        s->pending_bytes -= p->parts[i].n;
        bytes_done(&p->parts[i]);
    }
    s->pending_bytes -= sizeof(*p) + p->record.n;
    bytes_done(&p->record);
    free(p);
}

void model_store_free(struct model_store *s)
{
    if (s == NULL)
        return;
    for (size_t i = 0; i < s->n_names; i++) {
        struct shelf *shelf = &s->shelves[i];

        for (size_t k = 0; k < shelf->n_pending; k++)
            pending_free(s, shelf->pending[k]);
        for (size_t k = 0; k < shelf->n_versions; k++)
            free((void *)(uintptr_t)shelf->versions[k].bytes.data);
        free(shelf->pending);
        free(shelf->versions);
        free(shelf->routings);
        free(shelf->verdicts);
        free(shelf->feature_set);
    }
    free(s->names);
    free(s->shelves);
    arena_done(&s->kept);
    arena_done(&s->scratch);
    free(s);
}

static struct shelf *find(const struct model_store *s, const char *name)
{
    for (size_t i = 0; i < s->n_names; i++) {
        if (strcmp(s->names[i], name) == 0)
            return &s->shelves[i];
    }
    return NULL;
}

static struct shelf *find_or_make(struct model_store *s, const char *name)
{
    struct shelf *shelf = find(s, name);

    if (shelf != NULL)
        return shelf;
    s->names = xrealloc(s->names, (s->n_names + 1) * sizeof(*s->names));
    s->shelves = xrealloc(s->shelves, (s->n_names + 1) * sizeof(*s->shelves));
    s->names[s->n_names] = arena_strdup(&s->kept, name);
    s->shelves[s->n_names] = (struct shelf){0};
    return &s->shelves[s->n_names++];
}

void model_store_expect(struct model_store *s, const char *name, const char *feature_set)
{
    struct shelf *shelf = find_or_make(s, name);

    free(shelf->feature_set);
    shelf->feature_set = xstrdup(feature_set);
}

static const struct model_version *version_of(const struct shelf *shelf, int32_t version)
{
    for (size_t i = shelf->n_versions; i-- > 0;) {
        if (shelf->versions[i].record->version == version)
            return &shelf->versions[i];
    }
    return NULL;
}

static size_t pending_index(const struct shelf *shelf, int32_t version)
{
    size_t i = 0;

    while (i < shelf->n_pending && shelf->pending[i]->version != version)
        i++;
    return i;
}

static enum status pending_of(struct model_store *s, struct shelf *shelf, int32_t version, size_t n_more,
                              struct pending **ret, struct error *err)
{
    size_t i = pending_index(shelf, version);
    struct pending *p;

    if (s->pending_bytes + n_more + sizeof(*p) > PENDING_BYTES_MAX)
        return err_set(err, ERR_RECORD, "more than %zu MiB of model parts without their record", PENDING_BYTES_MAX >> 20);
    if (i == shelf->n_pending) {
        p = xcalloc(1, sizeof(*p));
        p->version = version;
        shelf->pending = xrealloc(shelf->pending, (i + 1) * sizeof(p));
        shelf->pending[shelf->n_pending++] = p;
        s->pending_bytes += sizeof(*p);
    }
    *ret = shelf->pending[i];
    return OK;
}

static void drop_pending(struct model_store *s, struct shelf *shelf, const struct pending *p)
{
    size_t i = pending_index(shelf, p->version);

    pending_free(s, shelf->pending[i]);
    shelf->pending[i] = shelf->pending[--shelf->n_pending];
}

static void set_bytes(struct model_store *s, struct bytes *to, struct view from)
{
    s->pending_bytes -= to->n;
    bytes_clear(to);
    bytes_append(to, from.data, from.n);
    s->pending_bytes += to->n;
}

/* Takes a version into the list once its record and all parts are there and agree. */
static enum status complete(struct model_store *s, struct shelf *shelf, struct pending *p, struct error *err)
{
    struct model_record m, *kept;
    struct bytes whole = BYTES_EMPTY;
    uint8_t digest[HASH_BYTES];
    size_t at;

    if (p->record.n == 0 || model_record_decode(view_of(p->record.data, p->record.n), &s->scratch, &m, err) != OK)
        return p->record.n == 0 ? OK : err->status;
    for (int32_t i = 0; i < m.n_parts; i++) {
        if (p->parts[i].n == 0)
            return OK;
    }
    for (int32_t i = 0; i < m.n_parts; i++)
        bytes_append(&whole, p->parts[i].data, p->parts[i].n);
    hash_bytes(view_of(whole.data, whole.n), digest);
    if ((int64_t)whole.n != m.n_bytes || memcmp(digest, m.sha256, HASH_BYTES) != 0) {
        bytes_done(&whole);
        return err_set(err, ERR_RECORD, "model %s/%d: its parts are not the bytes that it was signed for (SHA-256)", m.name,
                       m.version);
    }
    kept = arena_zalloc(&s->kept, sizeof(*kept));
    if (model_record_decode(view_of(p->record.data, p->record.n), &s->kept, kept, err) != OK) {
        bytes_done(&whole);
        return err->status;
    }
    shelf->versions = xrealloc(shelf->versions, (shelf->n_versions + 1) * sizeof(*shelf->versions));
    for (at = shelf->n_versions; at > 0 && shelf->versions[at - 1].record->version > m.version; at--)
        shelf->versions[at] = shelf->versions[at - 1];
    shelf->versions[at] = (struct model_version){kept, view_of(whole.data, whole.n)};
    shelf->n_versions++;
    drop_pending(s, shelf, p);
    return OK;
}

static enum status names_agree(const struct model_key *key, const char *name, int64_t key_n, int64_t n, struct error *err)
{
    if (strcmp(key->name, name) == 0 && key_n == n)
        return OK;
    return err_set(err, ERR_RECORD, "its key is for %s %lld, the record says %s %lld", key->name, (long long)key_n, name,
                   (long long)n);
}

static enum status add_model(struct model_store *s, struct shelf *shelf, const struct model_key *key, struct view body,
                             struct error *err)
{
    const struct model_version *accepted = version_of(shelf, key->version);
    struct pending *p;
    struct model_record m;

    if (model_record_decode(body, &s->scratch, &m, err) != OK || names_agree(key, m.name, key->version, m.version, err) != OK ||
        model_record_verify(body, &m, s->trusted, err) != OK)
        return err->status;
    if (accepted != NULL) /* a repeat of the same is harmless */
        return memcmp(accepted->record->signature, m.signature, SIGN_BYTES) == 0
                   ? OK
                   : err_set(err, ERR_RECORD, "another record for an accepted version: a version never changes");
    if (pending_of(s, shelf, key->version, body.n, &p, err) != OK)
        return err->status;
    if (p->record.n != 0 && !view_eq(body, view_of(p->record.data, p->record.n)))
        return err_set(err, ERR_RECORD, "another record for a signed version: a version never changes");
    if (m.version > shelf->version_max)
        shelf->version_max = m.version;
    if (shelf->feature_set != NULL && strcmp(shelf->feature_set, m.feature_set) != 0) {
        for (size_t i = 0; i < PARTS_MAX; i++)
            set_bytes(s, &p->parts[i], (struct view){0});
        p->passed_over = true;
        return err_set(err, ERR_RECORD, "feature set: expected %.32s, the model is for %.32s: retrain it", shelf->feature_set,
                       m.feature_set);
    }
    set_bytes(s, &p->record, body);
    return complete(s, shelf, p, err);
}

static enum status add_part(struct model_store *s, struct shelf *shelf, const struct model_key *key, struct view body,
                            struct error *err)
{
    const struct model_version *accepted = version_of(shelf, key->version);
    struct pending *p;
    struct view part;
    size_t at = (size_t)key->part * MODEL_PART_BYTES_MAX;

    if ((size_t)key->part >= PARTS_MAX)
        return err_set(err, ERR_RECORD, "part %d: a model has at most %zu", key->part, PARTS_MAX);
    if (model_part_decode(body, &part, err) != OK)
        return err->status;
    if (accepted != NULL) {
        if (at + part.n <= accepted->bytes.n && memcmp(accepted->bytes.data + at, part.data, part.n) == 0)
            return OK;
        return err_set(err, ERR_RECORD, "other bytes for a part of an accepted model: a version never changes");
    }
    if (pending_of(s, shelf, key->version, part.n, &p, err) != OK)
        return err->status;
    if (p->passed_over)
        return OK;
    set_bytes(s, &p->parts[key->part], part);
    return complete(s, shelf, p, err);
}

static enum status known(const struct shelf *shelf, const char *role, int32_t version, struct error *err)
{
    if (version_of(shelf, version) != NULL)
        return OK;
    return err_set(err, ERR_RECORD, "%s %d is not an accepted model", role, version);
}

static enum status check_routing(const struct shelf *shelf, const struct routing *r, struct error *err)
{
    int64_t last = shelf->n_routings ? shelf->routings[shelf->n_routings - 1].seq : 0;

    if (r->seq <= last)
        return err_set(err, ERR_RECORD, "sequence %lld; expected one above %lld: an old routing cannot come back",
                       (long long)r->seq, (long long)last);
    if (known(shelf, "champion", r->champion, err) != OK)
        return err->status;
    for (size_t i = 0; i < r->n_challengers; i++) {
        if (known(shelf, "challenger", r->challengers[i], err) != OK)
            return err->status;
    }
    return r->canary_version == -1 ? OK : known(shelf, "canary", r->canary_version, err);
}

static enum status add_routing(struct model_store *s, struct shelf *shelf, const struct model_key *key, struct view body,
                               struct error *err)
{
    struct routing r;

    if (routing_decode(body, &s->scratch, &r, err) != OK || names_agree(key, r.name, key->seq, r.seq, err) != OK ||
        routing_verify(body, &r, s->trusted, err) != OK || check_routing(shelf, &r, err) != OK ||
        routing_decode(body, &s->kept, &r, err) != OK)
        return err->status;
    shelf->routings = xrealloc(shelf->routings, (shelf->n_routings + 1) * sizeof(r));
    shelf->routings[shelf->n_routings++] = r;
    return OK;
}

static const struct verdict *verdict_of(const struct shelf *shelf, int64_t boundary_ms)
{
    for (size_t i = shelf->n_verdicts; i-- > 0;) {
        if (shelf->verdicts[i].boundary_ms == boundary_ms)
            return &shelf->verdicts[i];
    }
    return NULL;
}

static enum status add_verdict(struct model_store *s, struct shelf *shelf, const struct model_key *key, struct view body,
                               struct error *err)
{
    const struct verdict *before = verdict_of(shelf, key->boundary_ms);
    struct verdict v;

    if (verdict_decode(body, &s->scratch, &v, err) != OK ||
        names_agree(key, v.name, key->boundary_ms, v.boundary_ms, err) != OK)
        return err->status;
    if (before != NULL)
        return strcmp(before->outcome, v.outcome) == 0 && before->version == v.version && before->routing_seq == v.routing_seq
                   ? OK
                   : err_set(err, ERR_RECORD, "another verdict for this boundary");
    if (verdict_decode(body, &s->kept, &v, err) != OK)
        return err->status;
    shelf->verdicts = xrealloc(shelf->verdicts, (shelf->n_verdicts + 1) * sizeof(v));
    shelf->verdicts[shelf->n_verdicts++] = v;
    return OK;
}

enum status model_store_add(struct model_store *s, struct view key, struct view body, struct error *err)
{
    static enum status (*const add[])(struct model_store *, struct shelf *, const struct model_key *, struct view,
                                      struct error *) = {
        [MODEL_KEY_RECORD] = add_model,
        [MODEL_KEY_PART] = add_part,
        [MODEL_KEY_ROUTING] = add_routing,
        [MODEL_KEY_VERDICT] = add_verdict,
    };
    struct model_key k;

    if (!model_key_parse(key, &k))
        return err_set(err, ERR_RECORD, "models topic: a key of %zu bytes that is none of ours; expected "
                       "name/version, name/version/part, name/routing/seq or name/verdict/time", key.n);
    if (body.data == NULL)
        return err_set(err, ERR_RECORD, "models topic: %s: a tombstone; nothing here is taken back", k.name);
    if (s->n_names >= NAMES_MAX && find(s, k.name) == NULL)
        return err_set(err, ERR_RECORD, "models topic: more than %d names", NAMES_MAX);
    arena_reset(&s->scratch);
    if (add[k.kind](s, find_or_make(s, k.name), &k, body, err) == OK)
        return OK;
    return err_wrap(err, "models topic: %.*s", (int)key.n, (const char *)key.data);
}

const struct model_version *model_store_versions(const struct model_store *s, const char *name, size_t *ret_n)
{
    const struct shelf *shelf = find(s, name);

    *ret_n = shelf ? shelf->n_versions : 0;
    return shelf ? shelf->versions : NULL;
}

const struct model_version *model_store_version(const struct model_store *s, const char *name, int32_t version)
{
    const struct shelf *shelf = find(s, name);

    return shelf ? version_of(shelf, version) : NULL;
}

int32_t model_store_next_version(const struct model_store *s, const char *name)
{
    const struct shelf *shelf = find(s, name);

    return shelf ? shelf->version_max + 1 : 1;
}

const struct routing *model_store_routing_at(const struct model_store *s, const char *name, int64_t event_ms)
{
    const struct shelf *shelf = find(s, name);

    for (size_t i = shelf ? shelf->n_routings : 0; i-- > 0;) {
        if (shelf->routings[i].from_ms <= event_ms)
            return &shelf->routings[i];
    }
    return NULL;
}

const struct routing *model_store_routing(const struct model_store *s, const char *name, int64_t seq)
{
    const struct shelf *shelf = find(s, name);

    for (size_t i = shelf ? shelf->n_routings : 0; i-- > 0;) {
        if (shelf->routings[i].seq == seq)
            return &shelf->routings[i];
    }
    return NULL;
}

const struct routing *model_store_routing_last(const struct model_store *s, const char *name)
{
    const struct shelf *shelf = find(s, name);

    return shelf && shelf->n_routings ? &shelf->routings[shelf->n_routings - 1] : NULL;
}

int64_t model_store_next_seq(const struct model_store *s, const char *name)
{
    const struct routing *last = model_store_routing_last(s, name);

    return last ? last->seq + 1 : 1;
}

const struct verdict *model_store_verdict(const struct model_store *s, const char *name, int64_t boundary_ms)
{
    const struct shelf *shelf = find(s, name);

    return shelf ? verdict_of(shelf, boundary_ms) : NULL;
}

const char *const *model_store_names(const struct model_store *s, size_t *ret_n)
{
    *ret_n = s->n_names;
    return s->names;
}
