/* common/stage/file_order.h */
/*
 * file_order: one input file's records in flight; outputs leave in the order of the records that they stem from.
 *
 * The loop takes tasks in turn, by batches: without this a file's bytes would depend on the batches' size, and rows of
 * equal rank would lie apart. So a record's outputs are parked until all before it are done.
 * Memory   blocks that are used again once all that lies in them has left: a warm run allocates nothing per record.
 * Owner    file_order_done frees. Threads: one.
 */
#ifndef STAGE_FILE_ORDER_H
#define STAGE_FILE_ORDER_H

#include "base/bytes.h"
#include "base/err.h"

struct file_slot;
struct file_block;

struct file_order {
    struct file_slot *slots; /* ring: record number n is in slot n & (cap - 1) */
    size_t cap;
    uint64_t begin, end;     /* record numbers in flight: [begin, end) */
    struct file_block *now;  /* bytes go here */
    struct file_block *free; /* nothing in flight lies in these */
};

void file_order_done(struct file_order *o);
/* A copy of the record's body, good until file_order_end(its number). */
struct view file_order_begin(struct file_order *o, struct view body, uint64_t *ret_number);
/* An output of that record for the file `out`. */
void file_order_park(struct file_order *o, uint64_t number, int out, struct view value);
void file_order_end(struct file_order *o, uint64_t number);

typedef enum status file_order_fn(void *ctx, int out, struct view value, struct error *err);
/* Hands over what is next in order, up to the first record that is still in flight. */
enum status file_order_flush(struct file_order *o, file_order_fn *each, void *ctx, struct error *err);

#endif
