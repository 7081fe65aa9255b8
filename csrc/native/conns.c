// SPDX-License-Identifier: Apache-2.0
/*
 * Connections for datapath/conntrack.py: whole batches by one system call, sifted
 * before Python sees them.
 */
#include <linux/bpf.h>
#include <linux/types.h>
#include <string.h>

#include "conns.h"
#include "maps.h"
#include "ovn_bpf/conntrack.h"

static int is_pair(const struct ovn_conn *c, const struct ovn_conn_pair *p)
{
	const struct ovn_ct_tuple *orig = &c->tuple[OVN_CT_ORIG];
	const struct ovn_ct_tuple *reply = &c->tuple[OVN_CT_REPLY];

	return orig->dst[3] == p->vip[3] && reply->src[3] == p->backend[3] &&
	       !memcmp(orig->dst, p->vip, sizeof(p->vip)) &&
	       !memcmp(reply->src, p->backend, sizeof(p->backend)) &&
	       (!p->proto || p->proto == orig->proto) &&
	       (!p->vip_port || p->vip_port == (orig->ports & 0xffff)) &&
	       (!p->backend_port || p->backend_port == reply->ports >> 16);
}

static int wanted(const struct ovn_conn *c, const struct ovn_conn_wish *wish)
{
	uint32_t i;

	if ((c->flags & (OVN_CONN_LIVE | OVN_CONN_DYING)) != OVN_CONN_LIVE)
		return 0;
	if (wish->zone != OVN_ANY_ZONE && c->tuple[OVN_CT_ORIG].zone != wish->zone)
		return 0;
	for (i = 0; i < wish->n_pairs; i++)
		if (is_pair(c, &wish->pairs[i]))
			return 1;
	return !wish->n_pairs;
}

int ovn_conn_dump(int fd, uint64_t *cursor, uint32_t *ids, struct ovn_conn *conns, uint32_t n,
		  const struct ovn_conn_wish *wish, int *more)
{
	int read = ovn_map_dump(fd, cursor, ids, conns, n, 1, more), i, kept = 0;

	if (read > 0 && ids[read - 1] >= wish->high)
		*more = 0;
	for (i = 0; i < read; i++) {
		if (!wanted(&conns[i], wish))
			continue;
		ids[kept] = ids[i];
		if (kept != i)
			conns[kept] = conns[i];
		kept++;
	}
	return read < 0 ? read : kept;
}

void ovn_zone_flush(void *zones, uint32_t zone)
{
	struct ovn_ct_zone *z = (struct ovn_ct_zone *)zones + zone;

	/* The generation before last is gone by now, or nearly: its count is 0. */
	__atomic_fetch_add(&z->gen, 1, __ATOMIC_SEQ_CST);
}
