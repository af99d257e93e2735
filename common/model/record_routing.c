/* common/model/record_routing.c: routings and verdicts. Field order: schemas/Routing.avsc, schemas/Verdict.avsc. */
#include "model/record_io.h"

static void put_signed(const struct routing *r, struct bytes *out)
{
    avro_put_str(out, r->name);
    avro_put_long(out, r->seq);
    avro_put_long(out, r->champion);
    put_count(r->n_challengers, out);
    for (size_t i = 0; i < r->n_challengers; i++)
        avro_put_long(out, r->challengers[i]);
    avro_put_long(out, 0);
    put_long_or(r->canary_version, -1, out);
    if (r->canary_version != -1)
        avro_put_double(out, r->canary_share);
    avro_put_long(out, r->from_ms);
    avro_put_str(out, r->reason);
    avro_put_long(out, r->created_ms);
    avro_put_str(out, r->key_id);
}

void routing_encode(const struct routing *r, struct bytes *out)
{
    put_signed(r, out);
    avro_put_bytes(out, view_of(r->signature, SIGN_BYTES));
}

void routing_sign(struct routing *r, const struct sign_key *key, struct bytes *out)
{
    size_t begin = out->n;

    r->key_id = sign_key_id(key);
    put_signed(r, out);
    sign_bytes(key, SIGN_ROUTING, view_of(out->data + begin, out->n - begin), r->signature);
    avro_put_bytes(out, view_of(r->signature, SIGN_BYTES));
}

static void take_challengers(struct take *t, struct routing *r)
{
    struct take_items items = {0};
    int32_t *version;

    while ((version = take_item(t, "challengers", &items, sizeof(*version), RECORD_ITEMS_MAX)) != NULL)
        *version = (int32_t)take_long(t, "challengers", 1, INT32_MAX);
    r->challengers = items.base;
    r->n_challengers = items.n;
}

static void take_canary(struct take *t, struct routing *r)
{
    r->canary_version = (int32_t)take_long_or(t, "canary.version", -1, 1, INT32_MAX);
    if (r->canary_version == -1)
        return;
    r->canary_share = take_double(t, "canary.share");
    if (!(r->canary_share >= 0 && r->canary_share <= 1))
        take_fail(t, "canary.share", "expected 0 to 1");
}

enum status routing_decode(struct view body, struct arena *arena, struct routing *ret_routing, struct error *err)
{
    struct take t = take_from(body, arena, "routing record", err);
    struct routing r = {0};

    r.name = take_name(&t);
    r.seq = take_long(&t, "seq", 1, INT64_MAX);
    r.champion = (int32_t)take_long(&t, "champion", 1, INT32_MAX);
    take_challengers(&t, &r);
    take_canary(&t, &r);
    r.from_ms = take_long(&t, "from_ms", INT64_MIN, INT64_MAX);
    r.reason = take_text(&t, "reason");
    r.created_ms = take_long(&t, "created_ms", INT64_MIN, INT64_MAX);
    r.key_id = take_text(&t, "key_id");
    take_signature(&t, r.signature);
    if (take_end(&t) != OK)
        return ERR_RECORD;
    *ret_routing = r;
    return OK;
}

enum status routing_verify(struct view body, const struct routing *r, const struct sign_keys *keys, struct error *err)
{
    struct view covered;

    if (!signed_part(body, &covered))
        return err_set(err, ERR_RECORD, "routing record: signature: expected 64 bytes at the end");
    if (sign_verify(keys, SIGN_ROUTING, r->key_id, covered, view_of(r->signature, SIGN_BYTES), err) != OK)
        return err_wrap(err, "routing %s/routing/%lld", r->name, (long long)r->seq);
    return OK;
}

void verdict_encode(const struct verdict *v, struct bytes *out)
{
    avro_put_str(out, v->name);
    avro_put_long(out, v->boundary_ms);
    avro_put_str(out, v->outcome);
    avro_put_str(out, v->reason);
    put_long_or(v->version, -1, out);
    put_metrics(v->metrics, v->n_metrics, out);
    put_long_or(v->routing_seq, -1, out);
    avro_put_long(out, v->created_ms);
}

enum status verdict_decode(struct view body, struct arena *arena, struct verdict *ret_verdict, struct error *err)
{
    struct take t = take_from(body, arena, "verdict record", err);
    struct verdict v = {0};

    v.name = take_name(&t);
    v.boundary_ms = take_long(&t, "boundary_ms", INT64_MIN, INT64_MAX);
    v.outcome = take_text(&t, "outcome");
    if (strcmp(v.outcome, "promoted") != 0 && strcmp(v.outcome, "refused") != 0 &&
        strcmp(v.outcome, "nothing_to_train") != 0)
        take_fail(&t, "outcome", "expected promoted, refused or nothing_to_train");
    v.reason = take_text(&t, "reason");
    v.version = (int32_t)take_long_or(&t, "version", -1, 1, INT32_MAX);
    take_metrics(&t, &v.metrics, &v.n_metrics);
    v.routing_seq = take_long_or(&t, "routing_seq", -1, 1, INT64_MAX);
    v.created_ms = take_long(&t, "created_ms", INT64_MIN, INT64_MAX);
    if (take_end(&t) != OK)
        return ERR_RECORD;
    *ret_verdict = v;
    return OK;
}
