// SPDX-License-Identifier: Apache-2.0
/*
 * Connections for datapath/conntrack.py: whole batches by one system call, sifted
 * before Python sees them.
 */
#include <linux/bpf.h>
#include <linux/types.h>

#include "conns.h"
#include "maps.h"
#include "ovn_bpf/conntrack.h"

static int wanted(const struct ovn_conn *c, uint32_t zone)
{
	if ((c->flags & (OVN_CONN_LIVE | OVN_CONN_DYING)) != OVN_CONN_LIVE)
		return 0;
	return zone == OVN_ANY_ZONE || c->tuple[OVN_CT_ORIG].zone == zone;
}

int ovn_conn_dump(int fd, uint64_t *cursor, uint32_t *ids, struct ovn_conn *conns, uint32_t n,
		  uint32_t high, uint32_t zone, int *more)
{
	int read = ovn_map_dump(fd, cursor, ids, conns, n, 1, more), i, kept = 0;

	if (read > 0 && ids[read - 1] >= high)
		*more = 0;
	for (i = 0; i < read; i++) {
		if (!wanted(&conns[i], zone))
			continue;
		ids[kept] = ids[i];
		conns[kept++] = conns[i];
	}
	return read < 0 ? read : kept;
}

void ovn_zone_flush(void *zones, uint32_t zone)
{
	struct ovn_ct_zone *z = (struct ovn_ct_zone *)zones + zone;
	int32_t count = __atomic_load_n(&z->count, __ATOMIC_RELAXED);

	/* Of an older generation the program does not count down any more. */
	__atomic_fetch_add(&z->gen, 1, __ATOMIC_SEQ_CST);
	__atomic_fetch_sub(&z->count, count, __ATOMIC_SEQ_CST);
}
