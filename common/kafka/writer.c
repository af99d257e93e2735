#include <stdlib.h>

#include "base/arena.h"
#include "kafka/kafka.h"
#include "kafka/txn.h"

struct writer {
    struct txn *txn;
};

enum status writer_new(const char *brokers, const struct pipeline *p, const char *transactional_id,
                       struct writer **ret_writer, struct error *err)
{
    struct txn *txn = NULL;
    enum status s = txn_new(brokers, p, transactional_id, &txn, err);

    if (s == OK)
        s = txn_start(txn, err);
    if (s != OK) {
        txn_free(txn);
        return s;
    }
    *ret_writer = xcalloc(1, sizeof(**ret_writer));
    (*ret_writer)->txn = txn;
    return OK;
}

enum status writer_put(struct writer *w, const char *topic, int partition, struct view key, struct view value,
                       struct error *err)
{
    struct log_put put = {.topic = topic, .partition = partition, .key = key, .value = value};

    return txn_put(w->txn, &put, 0, err);
}

enum status writer_put_with(struct writer *w, const struct log_put *put, const char *header, struct view value,
                            struct error *err)
{
    return txn_put_with(w->txn, put, 0, header, value, err);
}

enum status writer_commit(struct writer *w, struct error *err)
{
    enum txn_outcome outcome;
    enum status s;

    if (!txn_is_open(w->txn))
        return OK;
    s = txn_commit(w->txn, NULL, NULL, &outcome, err);
    if (s == ERR_RETRY && outcome == TXN_UNKNOWN) /* no offsets that would tell */
        return err_wrap(err, "whether it was written is not known: look, then write again if it is not there");
    return s;
}

void writer_free(struct writer *w)
{
    if (w == NULL)
        return;
    txn_free(w->txn);
    free(w);
}
