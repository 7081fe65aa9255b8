/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The forwarding database of ports with unknown addresses: get_fdb, lookup_fdb
 * and put_fdb (ovn-sb(5), Logical_Flow).  The program learns by itself.
 */
#ifndef OVN_BPF_FDB_H
#define OVN_BPF_FDB_H

#include "packet.h"
#include "ports.h"
#include "scratch.h"

/* These are not inlined, so that their keys do not lie on the stack while
 * execute() sends: see OVN_MAX_STACK_BYTES. */

/* Port key of the MAC address at a word, in the context's datapath; 0 when
 * unknown.  It is in use if it is the expected one. */
static __noinline __u32 fdb_port(const struct scratch *s, __u32 word, __u32 expected)
{
	struct ovn_fdb_key key = { .dp = s->cur.w[OW_DP] };
	struct ovn_fdb *e;
	__u32 port, now;

	put_mac(key.mac, &s->cur.w[word & (OVN_WORDS - 1)]);
	e = bpf_map_lookup_elem(&ovn_fdb, &key);
	if (!e)
		return 0;
	port = e->port;
	/* The element's memory may belong to another key by now. */
	if (e->key.dp != key.dp || __builtin_memcmp(e->key.mac, key.mac, 6))
		return 0;
	if (port == expected && !s->trace) {
		now = bpf_ktime_get_boot_ns() / 1000000000;
		if (e->used != now)
			e->used = now;
	}
	return port;
}

/* What comes by a localnet port (MLF_LOCALNET) may be a guest's frame that another
 * chassis sent out: where the guest is counts, and is not learnt anew. */
static __noinline int fdb_known(struct scratch *s, __u32 port, __u32 inport)
{
	if (!port || port == inport || !(s->cur.w[OW_FLAGS] & MLF_LOCALNET))
		return port && port == inport;
	return port_slot(s, s->cur.w[OW_DP], port) != 0;
}

static __noinline void fdb_learn(const struct scratch *s, __u32 word, __u32 port)
{
	struct ovn_fdb e = { .key = { .dp = s->cur.w[OW_DP] }, .port = port };

	put_mac(e.key.mac, &s->cur.w[word & (OVN_WORDS - 1)]);
	e.seen = bpf_ktime_get_boot_ns() / 1000000000;
	e.used = e.seen;
	/* Full, busy or no memory: not learnt, so packets to it are flooded as before, and
	 * its next one is learnt. */
	bpf_map_update_elem(&ovn_fdb, &e.key, &e, BPF_ANY);
}

#endif
