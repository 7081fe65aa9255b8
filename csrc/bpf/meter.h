/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Meters (ovn-sb(5), Meter): of set_meter(), of log(), and a flow's controller_meter.
 *
 * A bucket is one number: the time at which it will be full.  A packet puts that off by
 * what it costs, unless it would be further away than the bucket is deep.  Counts and
 * buckets change under a lock, so they are exact however many CPUs there are.
 */
#ifndef OVN_BPF_METER_H
#define OVN_BPF_METER_H

#include "scratch.h"

#define NSEC_PER_SEC 1000000000ull
#define NSEC_PER_MSEC 1000000ull

/* What meters say. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* the agent alone adds to it */
	__type(key, __u64);
	__type(value, struct ovn_meter);
} ovn_meters SEC(".maps");
/* Their buckets and counts. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__uint(map_flags, BPF_F_NO_PREALLOC); /* the agent alone adds to it */
	__type(key, __u64);
	__type(value, struct ovn_meter_use);
} ovn_meter_use SEC(".maps");

/* One band; 1 if there is not enough in its bucket. */
static __always_inline int over(__u64 *full_at, const struct ovn_meter_band *band, __u32 packets,
				__u64 now, __u32 len)
{
	__u64 rate = band->rate ? band->rate : 1, cost, depth, full;

	if (packets) {
		cost = (NSEC_PER_SEC + rate - 1) / rate;
		depth = band->burst * cost;
	} else {
		cost = len * 8 * NSEC_PER_MSEC / rate;
		depth = band->burst * NSEC_PER_SEC / rate;
	}
	full = (*full_at > now ? *full_at : now) + cost;
	if (full - now > depth)
		return 1;
	*full_at = full;
	return 0;
}

/*
 * metered - does the packet pass the meter with this key?  One that nobody defined
 * lets everything pass, as in OVS.
 */
__noinline int metered(__u32 hi, __u32 lo, __u32 len)
{
	__u64 key = (__u64)hi << 32 | lo, now = bpf_ktime_get_ns();
	const struct ovn_meter *m = bpf_map_lookup_elem(&ovn_meters, &key);
	struct ovn_meter_use *u = bpf_map_lookup_elem(&ovn_meter_use, &key);
	__u32 i, n = 0;

	if (!m || !u)
		return 1;
	bpf_spin_lock(&u->lock);
	/* The elements' memory may belong to other keys by now. */
	if (u->key != key || m->key != key) {
		bpf_spin_unlock(&u->lock);
		return 1;
	}
	if (u->epoch != m->epoch) {
		u->epoch = m->epoch;
		for (i = 0; i < OVN_METER_BANDS; i++)
			u->full_at[i] = 0;
	}
	for (i = 0; i < OVN_METER_BANDS; i++)
		if (i < m->n)
			n += over(&u->full_at[i], &m->band[i], m->packets, now, len);
	if (n) {
		u->dropped++;
		u->dropped_bytes += len;
	} else {
		u->passed++;
		u->passed_bytes += len;
	}
	bpf_spin_unlock(&u->lock);
	return !n;
}

#endif
