/* common/ops/listen.h */
/*
 * listen: the socket behind an address such as ":8080", or one clear sentence why there is none.
 *
 * Owner    the caller closes the descriptor (or hands it over).
 * Errors   ERR_FATAL, naming the address and what to do.
 */
#ifndef OPS_LISTEN_H
#define OPS_LISTEN_H

#include "base/err.h"

/* ":PORT" listens on every interface, by IPv6 and IPv4 where there is IPv6. */
enum status listen_open(const char *address, int *ret_fd, int *ret_port, struct error *err);

#endif
