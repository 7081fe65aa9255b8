/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The data plane: one program for each kind of device.  ovn_vif is attached to
 * the ingress of logical ports' devices, ovn_underlay to the underlay devices
 * when Geneve is done inline, ovn_tunnel to a collect-metadata netdev.
 *
 * All three end in ovn_run, which parses the frame into words and runs OVN's logical
 * flows as the agent has compiled them into maps; see docs/architecture.md.
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

#include "bpf/begin.h"
#include "bpf/ct_timer.h"
#include "bpf/decap.h"
#include "bpf/serve_dhcp.h"
#include "bpf/serve_dns.h"
#include "bpf/serve_ra.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline int too_deep(struct __sk_buff *skb)
{
	drop(skb, DROP_REENTRY);
	return TC_ACT_SHOT;
}

SEC("tc")
int ovn_vif(struct __sk_buff *skb)
{
	struct scratch *s = enter(WAY_DEVICE);

	if (!s)
		return too_deep(skb);
	return call_run(skb, s, 0);
}

SEC("tc")
int ovn_underlay(struct __sk_buff *skb)
{
	struct scratch *s = enter(WAY_TUNNEL);
	int err;

	if (!s)
		return TC_ACT_UNSPEC; /* nested: a frame of our own sending */
	err = decap(skb, s);
	if (err < 0)
		return leave(s, TC_ACT_UNSPEC);
	return call_run(skb, s, err);
}

SEC("tc")
int ovn_tunnel(struct __sk_buff *skb)
{
	struct scratch *s = enter(WAY_TUNNEL);

	if (!s)
		return too_deep(skb);
	return call_run(skb, s, netdev_decap(skb, s));
}

/* Never attached: the slow path runs it on what it sends, with ovn_resume_ctl set. */
SEC("tc")
int ovn_resume(struct __sk_buff *skb)
{
	struct scratch *s = enter(WAY_SLOWPATH);

	if (!s)
		return too_deep(skb);
	s->injected = 1;
	return call_run(skb, s, 0);
}

/* Never attached: the agent runs it to see where a packet would go. */
SEC("tc")
int ovn_trace(struct __sk_buff *skb)
{
	struct scratch *s = enter(WAY_TRACE);

	if (!s)
		return TC_ACT_SHOT;
	s->trace = 1;
	return call_run(skb, s, 0);
}

/* Never attached: what the others end in. */
SEC("tc")
int ovn_run(struct __sk_buff *skb)
{
	struct scratch *s = entered();
	int err;

	if (!s)
		return TC_ACT_SHOT;
	err = begin(skb, s);
	if (err) {
		ended(skb, s, err);
		return leave(s, TC_ACT_SHOT);
	}
	run(skb, s);
	if (s->serve.pc) {
		bpf_tail_call_static(skb, &ovn_calls, OVN_CALL_SERVE);
		not_served(s); /* the agent has not loaded it */
		run(skb, s);
	}
	return leave(s, s->verdict);
}

/* The verb's answer. */
static __always_inline int serve(struct __sk_buff *skb, struct scratch *s)
{
	const struct ovn_insn *in = insn_at(s->serve.pc);

	switch (in ? in->a : OVN_PUNT_NONE) {
	case OVN_PUNT_DHCP:
		return serve_dhcp(skb, s);
	case OVN_PUNT_RA:
		return serve_ra(skb, s);
	case OVN_PUNT_DNS:
		return serve_dns(skb, s);
	}
	return SERVE_PASS;
}

/* Never attached: what ovn_run ends in for verbs that the agent has answers to. */
SEC("tc")
int ovn_serve(struct __sk_buff *skb)
{
	struct scratch *s = entered();

	if (!s)
		return TC_ACT_SHOT;
	return served(skb, s, serve(skb, s));
}
