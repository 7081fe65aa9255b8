/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Fragments: nothing is reassembled.  The first fragment has the ports; they are
 * remembered for a while, by zone and by what all fragments of a packet share, and
 * later fragments take them.  So a packet's fragments get one verdict and one
 * translation, and none gets more than its first.
 *
 * Later fragments that come before their first, or reach into what it had, are
 * dropped: the receiver might otherwise put headers together that nobody judged
 * (RFC 1858, 3128, 5722).
 */
#ifndef OVN_BPF_FRAG_H
#define OVN_BPF_FRAG_H

#include "ct_maps.h"
#include "inner.h"

/* First fragments, by zone and packet; the oldest make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct ovn_first_key);
	__type(value, struct ovn_first);
} ovn_frags SEC(".maps");

#define FRAG_SECONDS 30 /* Linux' time to put a packet together */

static __always_inline int same_first(const struct ovn_first_key *a, const struct ovn_first_key *b)
{
	__u32 i, d = (a->id ^ b->id) | (a->zone ^ b->zone) | (a->proto ^ b->proto);

	for (i = 0; i < 4; i++)
		d |= (a->src[i] ^ b->src[i]) | (a->dst[i] ^ b->dst[i]);
	return !d;
}

/* What a later fragment has of its first; 0 or a drop reason. */
static __always_inline int frag_later(struct scratch *s, const struct ovn_first_key *key, __u32 now)
{
	const struct ovn_first *f = bpf_map_lookup_elem(&ovn_frags, key);
	__u32 *w = s->cur.w;

	if (!f || !same_first(&f->key, key) || now - f->seen > FRAG_SECONDS ||
	    s->frag_at < f->len || s->frag_at + s->frag_len > 65535) {
		ct_count(OVN_CTC_FRAG);
		return DROP_CT_FRAG;
	}
	w[OW_L4_PORTS] = f->ports;
	w[OW_IP] = (w[OW_IP] & 0xffffff) | f->l4_proto << 24;
	s->cur.icmp_id = f->icmp_id;
	return 0;
}

/*
 * frag_ports - let a fragment look like the packet that it is a part of
 *
 * To be called before a packet is looked up in a zone.  Afterwards, as behind
 * OVS's ct() in the kernel, ip.frag is 0 and the ports (type, code and id of ICMP)
 * are those of the first fragment, while s->l4 is still 0 for a later one: there
 * is no header, and nothing but a look-up makes sense.  Returns 0, or DROP_CT_FRAG
 * for a later fragment of something unknown.
 */
__noinline int frag_ports(struct __sk_buff *skb, const struct scratch *given, __u32 zone)
{
	struct scratch *s = own(given);
	struct ovn_first_key *key;
	struct ovn_first *f;
	__u32 *w, i, now;
	int err = 0;

	if (!s || !skb)
		return DROP_BUG;
	w = s->cur.w;
	if (!(w[OW_IP] & OVN_FRAG_ANY) || s->trace || s->cur.reply)
		return 0;
	f = &s->buf.first;
	key = &f->key;
	for (i = 0; i < 4; i++) {
		key->src[i] = w[OW_IP_SRC + i];
		key->dst[i] = w[OW_IP_DST + i];
	}
	key->id = s->frag_id;
	key->zone = zone & 0xffff;
	key->proto = s->frag_proto;
	key->pad = 0;
	now = bpf_ktime_get_boot_ns() / 1000000000;
	if (s->frag & OVN_FRAG_LATER) {
		err = frag_later(s, key, now);
	} else if (s->cur.inner.kind == QUOTE_NONE) { /* errors are small */
		f->ports = w[OW_L4_PORTS];
		f->icmp_id = s->cur.icmp_id;
		f->l4_proto = w[OW_IP] >> 24;
		f->len = s->frag_len;
		f->seen = now;
		bpf_map_update_elem(&ovn_frags, key, f, BPF_ANY);
	}
	if (!err)
		w[OW_IP] &= ~(__u32)(OVN_FRAG_ANY | OVN_FRAG_LATER);
	return err;
}

#endif
