/* common/stage/changelog.c */
/*
 * A task's state on its compacted changelog topic, partition = task.
 *
 * Key      the state key's bytes, then 4 bytes big-endian: chunk number. The checkpoint has the empty state key.
 * Value    Avro State: epoch, index, chunks; positions (array of Cursor {input, task, offset, at, idle, record_at}): everything below
 *          `offset` of that channel is reflected, and what the channel had said (the checkpoint alone) below `low`;
 *          low (array of Low {input, offset, at}; the checkpoint alone): from where the inputs must be read again for keys that
 *          were not yet written; data (the chunk; the checkpoint's: one line of JSON, see put_about); origins, repeats
 *          (the checkpoint alone): origin.h's cursors, and what they dropped.
 * Restore  every committed record up to the high watermark; then inputs are read from `low`; what a key already reflects is
 *          skipped, the rest up to the checkpoint's cursors updates state without output. State that other features, another
 *          number of tasks or a later epoch made is refused; that of an earlier epoch is left out, and built anew from the
 *          inputs' beginnings up to the checkpoint's cursors. The outputs of what was taken are safe, also where they go out
 *          without a transaction: a checkpoint is committed after them.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fail.h"
#include "base/log.h"
#include "base/mutant.h"
#include "json/json.h"
#include "stage/internal.h"
#include "wire/avro.h"
#include "wire/frame.h"

#define ABOUT_CHARS 1024
#define LAYOUT 1 /* of the bytes of a key's state: one more whenever a worker lays them out otherwise */

/* need: the checkpoint's, with what the channels had said there. */
static void put_positions(struct stage *s, const struct task *t, const struct moment *need)
{
    int64_t n = 0;

    for (size_t i = 0; i < s->n_inputs; i++)
        n += (int64_t)t->inputs[i].merge.n_channels;
    if (n)
        avro_put_long(&s->body, n);
    for (size_t i = 0; i < s->n_inputs; i++)
        for (size_t c = 0; c < t->inputs[i].merge.n_channels; c++) {
            const struct channel *ch = &t->inputs[i].merge.channels[c];
            bool known = need && ch->task >= 0 && ch->task < t->inputs[i].merge.tasks;
            const struct said *said = known ? &need->said[i][ch->task] : NULL;

            avro_put_long(&s->body, (int64_t)i);
            avro_put_long(&s->body, ch->task);
            avro_put_long(&s->body, SAFE(M_CURSOR_SAVED) ? ch->next_offset : 0);
            avro_put_long(&s->body, said ? said->at : 0);
            avro_put_bool(&s->body, said && said->idle);
            avro_put_long(&s->body, said ? said->record_at : 0);
        }
    avro_put_long(&s->body, 0);
}

/* `repeats` says below the checkpoint what the cursors, which are beyond, cannot say any more. */
static void put_origins(struct stage *s, const struct task *t)
{
    int64_t n = 0;

    for (size_t i = 0; i < s->n_inputs; i++)
        n += (int64_t)t->inputs[i].origins.n;
    if (n)
        avro_put_long(&s->body, n);
    for (size_t i = 0; i < s->n_inputs; i++)
        for (size_t k = 0; k < t->inputs[i].origins.n; k++) {
            const struct origin *o = &t->inputs[i].origins.last[k];

            avro_put_long(&s->body, (int64_t)i);
            avro_put_long(&s->body, o->task);
            avro_put_long(&s->body, o->input);
            avro_put_long(&s->body, o->channel);
            avro_put_long(&s->body, o->offset);
            avro_put_long(&s->body, o->index);
        }
    avro_put_long(&s->body, 0);
}

static void put_dropped(struct stage *s, const struct task *t)
{
    int64_t n = 0;

    for (size_t i = 0; i < s->n_inputs; i++)
        n += (int64_t)t->inputs[i].dropped.n;
    if (n)
        avro_put_long(&s->body, n);
    for (size_t i = 0; i < s->n_inputs; i++)
        for (size_t k = 0; k < t->inputs[i].dropped.n; k++) {
            avro_put_long(&s->body, (int64_t)i);
            avro_put_long(&s->body, t->inputs[i].dropped.offsets[k]);
        }
    avro_put_long(&s->body, 0);
}

/* need: the checkpoint's; NULL for a key's state. */
static enum status put_state(struct stage *s, struct task *t, struct view key, uint32_t index, uint32_t chunks,
                             const struct moment *need, struct view chunk, struct error *err)
{
    uint8_t suffix[4] = {(uint8_t)(index >> 24), (uint8_t)(index >> 16), (uint8_t)(index >> 8), (uint8_t)index};
    struct bytes full_key = BYTES_EMPTY;
    struct log_put put = {.topic = s->changelog, .partition = t->id, .atomic = true};
    enum status st;

    bytes_clear(&s->body);
    frame_put(&s->body, schema_id(s->state_schema));
    avro_put_long(&s->body, s->def->epoch);
    avro_put_long(&s->body, index);
    avro_put_long(&s->body, chunks);
    put_positions(s, t, need);
    if (need) {
        avro_put_long(&s->body, (int64_t)s->n_inputs);
        for (size_t i = 0; i < s->n_inputs; i++) {
            avro_put_long(&s->body, (int64_t)i);
            avro_put_long(&s->body, need->low[i]);
            avro_put_long(&s->body, s->inputs[i].outside ? need->said[i][0].at : INT64_MIN);
        }
    }
    avro_put_long(&s->body, 0);
    avro_put_bytes(&s->body, chunk);
    if (need) {
        put_origins(s, t);
        put_dropped(s, t);
    } else {
        avro_put_long(&s->body, 0);
        avro_put_long(&s->body, 0);
    }
    bytes_append(&full_key, key.data, key.n);
    bytes_append(&full_key, suffix, sizeof(suffix));
    put.key = view_of(full_key.data, full_key.n);
    put.value = view_of(s->body.data, s->body.n);
    st = output_put(s, &put, err);
    bytes_done(&full_key);
    return st;
}

static const char *set_of(const struct stage *s)
{
    return s->def->compiled ? s->def->feature_set : "";
}

/* What the state is: how far, what the marks have said, of how many tasks, made by which features; of each input its writer's epoch at `low`, and how many
 * records were taken; how many keys were written. */
static void put_about(const struct stage *s, const struct task *t, const struct moment *need, char about[ABOUT_CHARS])
{
    int n = snprintf(about, ABOUT_CHARS, "{\"at\":%" PRId64 ",\"marked\":%" PRId64 ",\"tasks\":%d,\"layout\":%d,\"feature_set\":\"%s\","
                     "\"inputs\":[", t->at, t->marked_at, s->n_tasks_all, LAYOUT, set_of(s));

    for (size_t i = 0; i < s->n_inputs; i++)
        n += snprintf(about + n, ABOUT_CHARS - (size_t)n, "%s[%d,%" PRId64 "]", i ? "," : "", need->epoch[i],
                      t->inputs[i].n_taken);
    snprintf(about + n, ABOUT_CHARS - (size_t)n, "],\"keys\":%zu}", state_n_written(t->state));
}

enum status changelog_write(struct stage *s, struct task *t, struct error *err)
{
    const struct moment *need;
    struct state_chunk chunk = {0};
    size_t spent = 0;
    char about[ABOUT_CHARS];

    /* Within a replay a key reflects less than the cursors that would go with it. */
    while (!(task_replays(t, s->n_inputs) && SAFE(M_REPLAY_WHOLE)) && (spent < s->changelog_bytes || chunk.more) && state_next_chunk(t->state, &chunk)) {
        if (put_state(s, t, chunk.entry->key, chunk.index, chunk.n_chunks, NULL, chunk.bytes, err) != OK)
            return err->status;
        if (FAIL("changelog.write", err) != OK)
            return err->status;
        spent += chunk.bytes.n + 64;
    }
    need = task_need(t, s->n_inputs);
    for (size_t i = 0; i < s->n_inputs; i++)
        dropped_trim(&t->inputs[i].dropped, need->low[i]);
    put_about(s, t, need, about);
    return put_state(s, t, view_of("", 0), 0, 1, need, view_str(about), err);
}

/* A checkpoint as it was read; the last one counts. */
struct checkpoint {
    int64_t epoch;
    struct positions positions;
    int64_t low[INPUTS_MAX];
    int64_t at, marked_at;
    int64_t keys;
    int tasks;
    int layout; /* 0: of before it was said */
    char feature_set[64];
    int64_t taken[INPUTS_MAX];
    int upstream_epoch[INPUTS_MAX];
};

struct restoring {
    struct stage *stage;
    struct task *task;
    struct checkpoint last;
    bool found;
    size_t n;
};

static bool get_positions(struct avro_reader *r, struct positions *ret)
{
    int64_t n = -1, v[4], record_at;
    bool idle;

    *ret = (struct positions){0};
    while (avro_get_block(r, &n) && n != 0) {
        ret->cursors = xrealloc(ret->cursors, (ret->n + (size_t)n) * sizeof(*ret->cursors));
        for (int64_t i = 0; i < n; i++) {
            for (int k = 0; k < 4; k++)
                if (!avro_get_long(r, &v[k]))
                    return false;
            if (!avro_get_bool(r, &idle) || !avro_get_long(r, &record_at) || v[0] < 0 || v[0] >= INPUTS_MAX || v[1] < -1 || v[1] > 65536)
                return false;
            ret->cursors[ret->n++] = (struct cursor){(int)v[0], (int)v[1], v[2], v[3], record_at, idle};
        }
    }
    return n == 0;
}

/* Keys written by one commit carry the same positions: kept once. */
static uint32_t intern_positions(struct task *t, struct positions *p)
{
    if (t->n_restored) {
        struct positions *last = &t->restored[t->n_restored - 1];

        if (last->n == p->n && (p->n == 0 || memcmp(last->cursors, p->cursors, p->n * sizeof(*p->cursors)) == 0)) {
            free(p->cursors);
            return (uint32_t)t->n_restored;
        }
    }
    t->restored = xrealloc(t->restored, (t->n_restored + 1) * sizeof(*t->restored));
    t->restored[t->n_restored++] = *p;
    return (uint32_t)t->n_restored;
}

/* put_about, back. */
static enum status get_about(const struct stage *s, struct view data, struct checkpoint *c, struct error *err)
{
    json_auto_t *about = NULL;
    json_t *inputs;
    const char *set;
    json_int_t v[4];
    json_error_t at;
    int epoch;

    if (json_read(data, &about, err) != OK)
        return err->status;
    if (json_unpack_ex(about, &at, 0, "{s:I, s:I, s:i, s?i, s:s, s:o, s:I !}", "at", &v[0], "marked", &v[1], "tasks", &c->tasks,
                       "layout", &c->layout, "feature_set", &set, "inputs", &inputs, "keys", &v[2]) != 0)
        return err_set(err, ERR_FATAL, "%s", at.text);
    if (json_array_size(inputs) != s->n_inputs || strlen(set) >= sizeof(c->feature_set))
        return err_set(err, ERR_FATAL, "%zu inputs, feature set \"%s\"", json_array_size(inputs), set);
    c->at = v[0];
    c->marked_at = v[1];
    c->keys = v[2];
    memcpy(c->feature_set, set, strlen(set) + 1);
    for (size_t i = 0; i < s->n_inputs; i++) {
        if (json_unpack_ex(json_array_get(inputs, i), &at, 0, "[i, I !]", &epoch, &v[3]) != 0)
            return err_set(err, ERR_FATAL, "input %zu: %s", i, at.text);
        c->upstream_epoch[i] = epoch;
        c->taken[i] = v[3];
    }
    return OK;
}

static bool get_origins(struct restoring *re, struct avro_reader *r)
{
    int64_t n = -1, v[6];

    while (avro_get_block(r, &n) && n != 0)
        for (int64_t i = 0; i < n; i++) {
            for (size_t k = 0; k < ARRAY_LEN(v); k++)
                if (!avro_get_long(r, &v[k]))
                    return false;
            if (v[0] < 0 || (size_t)v[0] >= re->stage->n_inputs)
                return false;
            (void)origins_pass(&re->task->inputs[v[0]].origins,
                               &(struct origin){(int)v[1], (int)v[2], (int)v[3], v[4], (int)v[5]});
        }
    if (n != 0)
        return false;
    n = -1;
    while (avro_get_block(r, &n) && n != 0)
        for (int64_t i = 0; i < n; i++) {
            if (!avro_get_long(r, &v[0]) || !avro_get_long(r, &v[1]) || v[0] < 0 || (size_t)v[0] >= re->stage->n_inputs)
                return false;
            dropped_add(&re->task->inputs[v[0]].dropped, v[1]);
        }
    return n == 0 && r->p == r->end;
}

static void forget_origins(struct task *t, size_t n_inputs)
{
    for (size_t i = 0; i < n_inputs; i++) {
        origins_done(&t->inputs[i].origins);
        dropped_done(&t->inputs[i].dropped);
    }
}

static enum status get_checkpoint(struct restoring *re, int64_t epoch, struct positions *p, struct avro_reader *r,
                                  struct error *err)
{
    struct checkpoint c = {.epoch = epoch, .positions = *p};
    struct view data;
    int64_t n = -1, input, offset, at;

    while (avro_get_block(r, &n) && n != 0)
        for (int64_t i = 0; i < n; i++) {
            if (!avro_get_long(r, &input) || !avro_get_long(r, &offset) || !avro_get_long(r, &at) || input < 0 ||
                input >= INPUTS_MAX)
                return err_set(err, ERR_FATAL, "`low` is cut short, or of an input that the stage does not have");
            c.low[input] = offset;
        }
    for (size_t i = 0; i < p->n; i++)
        if ((size_t)p->cursors[i].input >= re->stage->n_inputs)
            return err_set(err, ERR_FATAL, "input %d, of which the stage has %zu", p->cursors[i].input, re->stage->n_inputs);
    forget_origins(re->task, re->stage->n_inputs); /* of an older checkpoint, which is not compacted away yet */
    if (n != 0 || !avro_get_bytes(r, &data))
        return err_set(err, ERR_FATAL, "`low` or `data` is cut short");
    if (get_about(re->stage, data, &c, err) != OK)
        return err_wrap(err, "`data`");
    if (!get_origins(re, r))
        return err_set(err, ERR_FATAL, "`origins` or `repeats` is cut short");
    free(re->last.positions.cursors);
    re->last = c;
    re->found = true;
    return OK;
}

static enum status restore_one(void *ctx, struct view key, struct view value, struct error *err)
{
    struct restoring *re = ctx;
    struct positions p = {0};
    struct avro_reader r;
    struct frame f;
    struct view chunk;
    int64_t epoch, index, chunks, n;
    enum status st;

    ops_beat(re->stage->ops); /* a long restore is no dead loop */
    if (FAIL("changelog.restoring", err) != OK)
        return err->status;
    if (key.data == NULL || key.n < 4 || value.data == NULL)
        return OK;
    if (frame_parse(value, &f, err) != OK) {
        err->status = ERR_FATAL;
        return err_wrap(err, "changelog %s: a record that no Millrace stage wrote", re->stage->changelog);
    }
    r = (struct avro_reader){f.body.data, f.body.data + f.body.n};
    if (!avro_get_long(&r, &epoch) || !avro_get_long(&r, &index) || !avro_get_long(&r, &chunks) || !get_positions(&r, &p))
        st = err_set(err, ERR_FATAL, "a record is cut short");
    else if (key.n == 4) {
        st = get_checkpoint(re, epoch, &p, &r, err);
        if (st == OK)
            return OK; /* the positions are its own */
    } else if (epoch != re->stage->def->epoch) {
        st = OK; /* of another state: the last checkpoint says whether that is right */
    } else if (!avro_get_block(&r, &n) || n != 0 || !avro_get_bytes(&r, &chunk)) {
        st = err_set(err, ERR_FATAL, "a key's record has `low`, or is cut short");
    } else {
        re->n++;
        return state_restore(re->task->state, view_of(key.data, key.n - 4), (uint32_t)index, (uint32_t)chunks, chunk,
                             intern_positions(re->task, &p), err);
    }
    free(p.cursors);
    return st == OK ? OK : err_wrap(err, "changelog %s: a checkpoint or a key's state cannot be read", re->stage->changelog);
}

/* Never on with state that does not match. */
static enum status check_state(const struct restoring *re, const int64_t *taken, struct error *err)
{
    const struct stage *s = re->stage;
    const struct checkpoint *c = &re->last;
    int task = re->task->id, epoch = s->def->epoch;

    for (size_t i = 0; i < s->n_inputs; i++)
        if (taken[i] > (re->found ? c->taken[i] : 0))
            return err_set(err, ERR_FATAL, "%s/%d: its state reflects %" PRId64 " records of %s, but %" PRId64 " are committed: "
                           "records of the changelog were lost (made anew, or truncated), and what was put out cannot be told any "
                           "more; make the pipeline under a new name, with topics of its own", s->changelog, task,
                           re->found ? c->taken[i] : 0, s->inputs[i].topic->broker_name, taken[i]);
    if (!re->found)
        return OK;
    if (c->tasks != s->n_tasks_all)
        return err_set(err, ERR_FATAL, "%s/%d: its state is of one of %d tasks, the inputs have %d partitions now: keys lie "
                       "elsewhere; make the pipeline under a new name, with topics of its own", s->changelog, task, c->tasks,
                       s->n_tasks_all);
    if (c->epoch > epoch)
        return err_set(err, ERR_FATAL, "%s/%d: its state is of epoch %" PRId64 ", the pipeline file says %d: take the file that "
                       "the stage ran by last", s->changelog, task, c->epoch, epoch);
    if (c->epoch == epoch && c->layout != LAYOUT)
        return err_set(err, ERR_FATAL, "%s/%d: its state was written by another version of Millrace (layout %d, this one has %d): "
                       "run that one, or give stage %s \"epoch\": %d: it builds its state anew", s->changelog, task, c->layout, LAYOUT,
                       s->def->name, epoch + 1);
    if (c->epoch == epoch && strcmp(c->feature_set, set_of(s)) != 0)
        return err_set(err, ERR_FATAL, "%s/%d: its state was made by the features %s, the pipeline file has others (%s): take the "
                       "former back, or give stage %s \"epoch\": %d: it builds its state anew", s->changelog, task, c->feature_set,
                       set_of(s), s->def->name, epoch + 1);
    if (c->epoch == epoch && (int64_t)state_n_keys(re->task->state) != c->keys)
        return err_set(err, ERR_FATAL, "%s/%d: it has %zu keys, %" PRId64 " were written: records of the changelog were lost "
                       "(deleted, or truncated); give stage %s \"epoch\": %d: it builds its state anew", s->changelog, task,
                       state_n_keys(re->task->state), c->keys, s->def->name, epoch + 1);
    return OK;
}

static void apply_checkpoint(struct task *t, const struct stage *s, const struct checkpoint *c)
{
    bool anew = c->epoch < s->def->epoch;

    t->at = c->at;
    /* A new epoch's channels have not been heard of; at least once, the last marks may not have left. */
    t->marked_at = anew || s->def->at_least_once ? INT64_MIN : c->marked_at;
    for (size_t i = 0; i < s->n_inputs; i++) {
        struct task_input *in = &t->inputs[i];

        in->next_offset = anew ? -1 : c->low[i];
        in->n_taken = c->taken[i];
        in->merge.epoch = in->merge.low_epoch = anew ? 0 : c->upstream_epoch[i];
    }
    for (size_t i = 0; i < c->positions.n; i++) {
        const struct cursor *cur = &c->positions.cursors[i];
        struct channel *ch = merge_channel(&t->inputs[cur->input].merge, cur->task);

        ch->next_offset = cur->offset;
        if (cur->offset > t->inputs[cur->input].replay_to)
            t->inputs[cur->input].replay_to = cur->offset;
        if (!anew && cur->task != CHANNEL_FOREIGN)
            ch->now = ch->low = (struct said){cur->at, cur->record_at, cur->idle};
    }
    t->anew = anew;
    if (!anew)
        return;
    forget_origins(t, s->n_inputs); /* built anew as well */
    log_info("state_anew", "task=%d epoch=%d before=%" PRId64, t->id, s->def->epoch, c->epoch);
}

enum status changelog_restore(struct stage *s, struct task *t, struct error *err)
{
    struct log_position at[INPUTS_MAX];
    struct restoring re = {.stage = s, .task = t};
    int64_t taken[INPUTS_MAX] = {0}, progress;
    enum status st = OK;

    if (s->log->ops->committed(s->log, t->id, at, err) != OK)
        return err_wrap(err, "committed offsets of task %d", t->id);
    for (size_t i = 0; i < s->n_inputs; i++) {
        struct task_input *ti = &t->inputs[i];

        ti->next_offset = ti->committed = at[i].offset;
        if (at[i].offset >= 0 &&
            sscanf(at[i].metadata, "{\"taken\":%" SCNd64 ",\"at\":%" SCNd64, &taken[i], &progress) == 2) {
            ti->n_taken = taken[i];
            ti->committed_at = progress;
            if (progress > t->at)
                t->at = progress; /* a stage without a changelog knows it from nowhere else */
        }
    }
    if (s->stateful) {
        st = s->log->ops->restore(s->log, s->changelog, t->id, restore_one, &re, err);
        if (st == OK)
            st = check_state(&re, taken, err);
        if (st == OK && re.found)
            apply_checkpoint(t, s, &re.last);
    }
    free(re.last.positions.cursors);
    if (st != OK)
        return err_wrap(err, "restore of task %d", t->id);
    for (size_t i = 0; i < s->n_inputs; i++)
        if (s->log->ops->seek(s->log, (int)i, t->id, t->inputs[i].next_offset, err) != OK)
            return err_wrap(err, "seek %s partition %d to %" PRId64, s->inputs[i].topic->broker_name, t->id,
                            t->inputs[i].next_offset);
    if (!s->stateful)
        t->marked_at = t->at;
    metrics_add(&s->metrics, METRIC_RESTORES, 0, 1);
    log_info("task_restored", "task=%d state_records=%zu keys=%zu bytes=%zu", t->id, re.n, state_n_keys(t->state),
             state_bytes(t->state));
    return FAIL("changelog.restored", err);
}

bool changelog_reflects(const struct task *t, const struct entry *e, int input, int task, int64_t offset)
{
    const struct positions *p;

    if (e->reflects == 0)
        return false;
    p = &t->restored[e->reflects - 1];
    for (size_t i = 0; i < p->n; i++)
        if (p->cursors[i].input == input && p->cursors[i].task == task)
            return offset < p->cursors[i].offset;
    return false;
}
