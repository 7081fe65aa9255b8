/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Maps of the connection tracker.  As in maps.h the sizes here are the least that
 * loads, and the agent sets the real ones; ovn_ct_idx has two elements and
 * ovn_ct_free one for each of ovn_conns.
 */
#ifndef OVN_BPF_CT_MAPS_H
#define OVN_BPF_CT_MAPS_H

#include "maps.h"

/* Connections. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, struct ovn_conn);
} ovn_conns SEC(".maps");

/* Both tuples of each.  Memory is taken as connections come, like Linux' tracker does. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2048);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct ovn_ct_tuple);
	__type(value, struct ovn_ct_ref);
} ovn_ct_idx SEC(".maps");

/* Numbers of elements of ovn_conns that were used and are free again. */
struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 1024);
	__type(value, __u32);
} ovn_ct_free SEC(".maps");

/* Zones: generation, limit, count. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ovn_ct_zone);
} ovn_ct_zones SEC(".maps");

/* Time-outs, and how far the table is used. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ovn_ct_ctl);
} ovn_ct_ctl SEC(".maps");

/* What happened to connections. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, OVN_CTC_MAX);
	__type(key, __u32);
	__type(value, __u64);
} ovn_ct_count SEC(".maps");

/* What ovn_ct_flush is to end. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, OVN_CT_KILLS);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct ovn_ct_kill);
} ovn_ct_kill SEC(".maps");

/* The look for expired connections, which goes on while no agent runs. */
struct ct_timer {
	struct bpf_timer timer;
};
/* When expired connections are looked for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_timer);
} ovn_ct_timer SEC(".maps");

static __noinline struct ovn_conn *conn_at(__u32 i)
{
	return array_at(&ovn_conns, i);
}

static __noinline struct ovn_ct_ctl *ct_control(void)
{
	return array_at(&ovn_ct_ctl, 0);
}

static __always_inline void ct_counted(__u32 what)
{
	__u64 *n = array_at(&ovn_ct_count, what);

	if (n)
		++*n;
}

/* ct_count - the same for who has a call left: each look-up costs a start 50 us */
__noinline int ct_count(__u32 what)
{
	ct_counted(what);
	return 0;
}

/* ms of CLOCK_BOOTTIME, which goes on while the machine sleeps. */
static __always_inline __u64 ct_now(void)
{
	return bpf_ktime_get_boot_ns() / 1000000;
}

#endif
