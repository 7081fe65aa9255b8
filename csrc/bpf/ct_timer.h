/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What ends connections without a packet: the look for expired ones, a part of the
 * table at a time, and the agent's orders.  Look-ups do not wait for it, since they
 * see by themselves that a connection has expired.
 */
#ifndef OVN_BPF_CT_TIMER_H
#define OVN_BPF_CT_TIMER_H

#include "ct_table.h"

#define CT_TICK_MS 50
#define CT_LAP 128	 /* ticks for the whole table, if it is not large */
#define CT_MIN_BATCH 128 /* connections a tick */
#define CT_MAX_BATCH 8192

#define CT_CLOCK_MONOTONIC 1

struct ct_sweep {
	__u64 now;
	__u32 first;
	__u32 high;
};

static long ct_sweep_one(__u32 n, const struct ct_sweep *w)
{
	__u32 i = w->first + n;

	/* The look goes round the table once at most. */
	ct_reap(1 + (i < w->high ? i : i - w->high), w->now);
	return 0;
}

static int ct_tick(void *map __attribute__((unused)), __u32 *key __attribute__((unused)),
		   struct ct_timer *t)
{
	struct ovn_ct_ctl *ctl = ct_control();
	struct ct_sweep w = { .now = ct_now() };
	__u32 n;

	if (!ctl)
		return 0;
	w.high = ctl->high;
	w.first = ctl->cursor < w.high ? ctl->cursor : 0;
	n = ctl->batch ? ctl->batch : w.high / CT_LAP;
	if (n < CT_MIN_BATCH)
		n = CT_MIN_BATCH;
	if (n > CT_MAX_BATCH)
		n = CT_MAX_BATCH;
	if (n > w.high)
		n = w.high;
	bpf_loop(n, ct_sweep_one, &w, 0);
	n += w.first;
	ctl->cursor = n < w.high ? n : n - w.high;
	n = ctl->tick ? ctl->tick : CT_TICK_MS;
	bpf_timer_start(&t->timer, n * 1000000ull, 0);
	return 0;
}

/* Run once by each agent: the looks begin, or go on with this program's code. */
SEC("tc")
int ovn_ct_start(struct __sk_buff *skb __attribute__((unused)))
{
	struct ct_timer *t = array_at(&ovn_ct_timer, 0);

	ct_defaults(ct_control());
	if (!t)
		return 1;
	bpf_timer_init(&t->timer, &ovn_ct_timer, CT_CLOCK_MONOTONIC); /* or it was */
	if (bpf_timer_set_callback(&t->timer, ct_tick))
		return 1;
	return bpf_timer_start(&t->timer, 0, 0) != 0;
}

static long ct_kill_one(__u32 n, const __u32 *unused __attribute__((unused)))
{
	const struct ovn_ct_kill *k = array_at(&ovn_ct_kill, n);

	if (!k || !k->conn)
		return 1;
	ct_end(k->conn, k->birth, OVN_CTC_EXPIRED);
	return 0;
}

/* Run by the agent: ends the connections that map ovn_ct_kill names. */
SEC("tc")
int ovn_ct_flush(struct __sk_buff *skb __attribute__((unused)))
{
	__u32 none = 0;

	bpf_loop(OVN_CT_KILLS, ct_kill_one, &none, 0);
	return 0;
}

#endif
