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

/* A destination and who answers for it; ports and protocol 0: any. */
struct ovn_conn_pair {
	uint32_t vip[4];
	uint32_t backend[4];
	uint16_t vip_port;
	uint16_t backend_port;
	uint32_t proto;
};

/* Which connections are wanted. */
struct ovn_conn_wish {
	uint32_t high; /* elements behind this one were never used */
	uint32_t zone; /* or OVN_ANY_ZONE */
	uint32_t n_pairs;
	const struct ovn_conn_pair *pairs; /* one of them, unless n_pairs is 0 */
};

/* Reads up to n elements of ovn_conns from *cursor on (0 at the start), each
 * under its lock, and keeps the connections among them that are wanted.  Returns how
 * many, their numbers in ids; sets *more to 0 at the end. */
int ovn_conn_dump(int fd, uint64_t *cursor, uint32_t *ids, struct ovn_conn *conns, uint32_t n,
		  const struct ovn_conn_wish *wish, int *more);

/* Ends all connections of a zone; zones: map ovn_ct_zones, mapped. */
void ovn_zone_flush(void *zones, uint32_t zone);

#endif
