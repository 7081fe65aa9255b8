/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Pieces of the data plane on their own, for tests/bench/datapath.py: what a
 * program costs that does nothing, and one that only parses.
 */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#ifndef NULL
#define NULL ((void *)0)
#endif

#include "ovn_bpf/tables.h"
#include "ovn_bpf/words.h"

/* They hold more than these pieces use. */
#pragma clang diagnostic ignored "-Wunused-function"
#include "bpf/entry.h"
#include "bpf/parse.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int bench_empty(struct __sk_buff *skb __attribute__((unused)))
{
	return TC_ACT_SHOT;
}

SEC("tc")
int bench_parse(struct __sk_buff *skb)
{
	struct scratch *s = enter(WAY_DEVICE);

	if (!s)
		return TC_ACT_SHOT;
	return leave(s, parse(skb, s) ? TC_ACT_SHOT : 0);
}
