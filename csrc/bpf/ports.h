/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Logical ports, groups and chassis by key: index hash -> slot, key checked
 * (see include/ovn_bpf/tables.h for why).  A slot of another key means that the
 * agent is writing just now: the hash is asked once more.
 */
#ifndef OVN_BPF_PORTS_H
#define OVN_BPF_PORTS_H

#include "classify.h"

#ifndef BPF_F_ADJ_ROOM_DECAP_L3_IPV4 /* kernel 6.3 */
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV4 (1ULL << 7)
#define BPF_F_ADJ_ROOM_DECAP_L3_IPV6 (1ULL << 8)
#endif

/*
 * find_port - slot of the version of a port that counts in a generation, or 0
 *
 * Not inlined, as the kernel moves all the rest of the program for each look-up that
 * it writes out.
 */
__noinline __u32 find_port(__u32 generation, __u32 dp, __u32 port)
{
	struct ovn_port_key key = { .dp = dp, .port = port };
	struct ovn_ref *ref;
	__u32 at, hop, try;

	ROLLED
	for (try = 0; try < OVN_SLOT_TRIES; try++) {
		ref = bpf_map_lookup_elem(&ovn_port_idx, &key);
		if (!ref)
			return 0;
		at = ref->slot;
		ROLLED
		for (hop = 0; hop < OVN_MAX_VERSIONS; hop++) {
			const struct ovn_port *p = array_at(&ovn_ports, at);

			if (!p || p->key.dp != dp || p->key.port != port)
				break;
			if (alive(&p->slot, generation))
				return at;
			at = p->slot.next;
			if (!at)
				return 0;
		}
	}
	return 0;
}

static __always_inline __u32 port_slot(const struct scratch *s, __u32 dp, __u32 port)
{
	return find_port(s->generation, dp, port);
}

static __noinline const struct ovn_port *port_at(__u32 slot)
{
	return slot ? array_at(&ovn_ports, slot) : NULL;
}

static __always_inline const struct ovn_mcgroup *group_of(const struct scratch *s, __u32 dp,
							  __u32 group)
{
	struct ovn_port_key key = { .dp = dp, .port = group };
	struct ovn_ref *ref;
	__u32 at, hop, try;

	ROLLED
	for (try = 0; try < OVN_SLOT_TRIES; try++) {
		ref = bpf_map_lookup_elem(&ovn_mc_idx, &key);
		if (!ref)
			return NULL;
		at = ref->slot;
		ROLLED
		for (hop = 0; hop < OVN_MAX_VERSIONS; hop++) {
			const struct ovn_mcgroup *g = array_at(&ovn_mcgroups, at);

			if (!g || g->key.dp != dp || g->key.port != group)
				break;
			if (alive(&g->slot, s->generation))
				return g;
			at = g->slot.next;
			if (!at)
				return NULL;
		}
	}
	return NULL;
}

/* The logical port whose device (and VLAN) this is, or NULL. */
static __always_inline const struct ovn_port *port_of_device(const struct scratch *s, __u32 ifindex,
							     __u32 vlan)
{
	struct ovn_ifport_key key = { .ifindex = ifindex, .vlan = vlan };
	struct ovn_ref *ref;
	__u32 at, hop, try;

	ROLLED
	for (try = 0; try < OVN_SLOT_TRIES; try++) {
		ref = bpf_map_lookup_elem(&ovn_ifports, &key);
		if (!ref)
			return NULL;
		at = ref->slot;
		ROLLED
		for (hop = 0; hop < OVN_MAX_VERSIONS; hop++) {
			const struct ovn_port *p = port_at(at);

			if (!p || p->kind != OVN_PORT_VIF || p->ifindex != ifindex ||
			    p->vlan != vlan)
				break;
			if (alive(&p->slot, s->generation))
				return p;
			at = p->slot.next;
		}
	}
	return NULL;
}

static __always_inline const struct ovn_tunnel *tunnel_to(__u32 chassis)
{
	const struct ovn_chassis *c = array_at(&ovn_chassis, chassis);
	const struct ovn_tunnel *t;

	if (!c)
		return NULL;
	t = c->live & 1 ? &c->t[1] : &c->t[0];
	return t->flags & OVN_TUN_VALID ? t : NULL;
}

/* What connections are tracked in: of the port's traffic, and of the datapath's
 * translations (OVN's reg13, reg11, reg12). */
static __noinline void load_zones(struct scratch *s, const struct ovn_port *p)
{
	const struct ovn_datapath *dp = array_at(&ovn_datapaths, s->cur.dp_index);

	s->cur.w[OW_CT_ZONE] = p->ct_zone;
	s->cur.w[OW_DNAT_ZONE] = dp ? dp->dnat_zone : 0;
	s->cur.w[OW_SNAT_ZONE] = dp ? dp->snat_zone : 0;
}

#endif
