/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading the connection tracker's table: a million elements are sifted here, so
 * that Python sees only those that are wanted.
 */
#ifndef OVN_NATIVE_CONNS_H
#define OVN_NATIVE_CONNS_H

#include <stdint.h>

struct ovn_conn;

#define OVN_ANY_ZONE 0x10000

/* Reads up to n elements of ovn_conns from *cursor on (0 at the start), each
 * under its lock, and keeps the connections among them: in use and, unless zone is
 * OVN_ANY_ZONE, in that zone.  Returns how many, their numbers in ids; sets *more
 * to 0 at the end of the map, and past element `high`. */
int ovn_conn_dump(int fd, uint64_t *cursor, uint32_t *ids, struct ovn_conn *conns, uint32_t n,
		  uint32_t high, uint32_t zone, int *more);

/* Ends all connections of a zone; zones: map ovn_ct_zones, mapped. */
void ovn_zone_flush(void *zones, uint32_t zone);

#endif
