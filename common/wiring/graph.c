#include "wiring/load.h"

static void check_writers(struct loader *l)
{
    struct pipeline *p = l->p;
    int *first = arena_alloc(l->arena, (p->n_topics + 1) * sizeof(*first));

    for (size_t t = 0; t < p->n_topics; t++)
        first[t] = -1;
    for (size_t i = 0; i < p->n_stages; i++) {
        struct stage_def *s = &p->stages[i];
        bool ingest = strcmp(s->worker, "ingest") == 0;

        for (size_t k = 0; k < s->n_to; k++) {
            int t = s->to[k];

            l->topics[t].n_uses++;
            if (first[t] >= 0) {
                fault(l, path_key(l, l->stages[i].path, "to"),
                      "expected a topic that no other stage writes, got '%s', which stage '%s' writes", p->topics[t].name,
                      p->stages[first[t]].name);
                l->topics[t].doubtful = true;
                continue;
            }
            first[t] = (int)i;
            l->topics[t].ingested = ingest;
            p->topics[t].writer = ingest ? -1 : (int)i;
        }
        for (size_t k = 0; k < s->n_from; k++)
            l->topics[s->from[k]].n_uses++;
        if (s->label_from >= 0)
            l->topics[s->label_from].n_uses++;
    }
    for (size_t t = 0; t < p->n_topics; t++)
        if (l->topics[t].n_uses == 0 && !l->writers_unknown)
            fault(l, l->topics[t].path, "expected a stage that reads or writes it, got none");
}

/* way: the n_way stages from which it came, in order. Says the way round when it comes back to one of them. */
static void search_cycle(struct loader *l, int stage, int *way, size_t n_way)
{
    struct pipeline *p = l->p;
    struct stage_def *s = &p->stages[stage];
    struct stage_more *more = &l->stages[stage];

    if (more->visit == 1) {
        const char *round = s->name;
        size_t begin = n_way;

        while (way[begin - 1] != stage)
            begin--;
        for (; begin < n_way; begin++)
            round = arena_printf(l->arena, "%s -> %s", round, p->stages[way[begin]].name);
        fault(l, path_key(l, more->path, "from"), "expected a way without a circle, got %s -> %s", round, s->name);
    }
    if (more->visit != 0)
        return;
    more->visit = 1;
    way[n_way++] = stage;
    for (size_t k = 0; k < s->n_to; k++)
        for (size_t i = 0; p->topics[s->to[k]].writer == stage && i < p->n_stages; i++)
            for (size_t j = 0; j < p->stages[i].n_from; j++)
                if (p->stages[i].from[j] == s->to[k])
                    search_cycle(l, (int)i, way, n_way);
    more->visit = 2;
}

void check_graph(struct loader *l)
{
    struct pipeline *p = l->p;
    int *way = arena_alloc(l->arena, (p->n_stages + 1) * sizeof(*way));

    check_writers(l);
    for (size_t i = 0; i < p->n_stages; i++)
        search_cycle(l, (int)i, way, 0);
    for (size_t t = 0; t < p->n_topics; t++) {
        static const char *const outside_only[] = {"lateness", "time.min", "time.ahead"};

        if (p->topics[t].writer < 0) {
            check_outside_topic(l, t);
            continue;
        }
        for (size_t k = 0; k < ARRAY_LEN(outside_only); k++)
            if (json_object_get(l->topics[t].json, outside_only[k]))
                fault(l, path_key(l, l->topics[t].path, outside_only[k]),
                      "expected only at a topic from outside; stage '%s' writes this one",
                      p->stages[p->topics[t].writer].name);
    }
}

static bool reads_in_order(const struct stage_def *s)
{
    if (s->arrival_order)
        return false;
    if (strcmp(s->worker, "preprocess") == 0)
        return s->compiled && features_has_state(s->compiled);
    for (size_t r = 0; r < s->n_rules; r++)
        if (s->rules[r].cooldown_ms > 0 || s->rules[r].once_per)
            return true;
    return strcmp(s->worker, "train") == 0;
}

/* A stage without state passes marks through, so what it reads needs them when what it writes does. */
void mark_ordered(struct loader *l)
{
    struct pipeline *p = l->p;
    bool changed = true;

    while (changed) {
        changed = false;
        for (size_t i = 0; i < p->n_stages; i++) {
            struct stage_def *s = &p->stages[i];
            bool ordered = reads_in_order(s);

            for (size_t k = 0; k < s->n_to; k++)
                ordered = ordered || (!s->arrival_order && p->topics[s->to[k]].ordered);
            for (size_t k = 0; ordered && k < s->n_from; k++) {
                changed = changed || !p->topics[s->from[k]].ordered;
                p->topics[s->from[k]].ordered = true;
            }
            if (s->label_from >= 0 && !s->arrival_order)
                p->topics[s->label_from].ordered = true;
        }
    }
}
