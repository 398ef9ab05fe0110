/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Start of the host, the run loop, and how a run ends. */
#include "cpu.h"
#include "host.h"
#include "layout.h"

extern u8 host_stacks[], host_bss_end[];

_Static_assert(offsetof(struct host_config, host_base) == CONFIG_OFFSET_HOST_BASE, "layout.h");
_Static_assert(offsetof(struct host_config, cbit) == CONFIG_OFFSET_CBIT, "layout.h");

static struct host the_host __attribute__((aligned(4096)));
static struct host_config the_config;
void *host_alloc(struct host *host, u64 size, u64 alignment)
{
	u64 start = (host->allocated + alignment - 1) & ~(alignment - 1);

	/* QEMU's RAM starts as zeros, and a run never restarts: -no-reboot. */
	if (start + size > host->config->host_base + host->config->host_size)
		host_fail(&host->vcpu[0], "host RAM is too small", __LINE__);
	host->allocated = start + size;
	return (void *)start;
}

static u64 physical(struct host *host, const void *object) { return (u64)object - HOST_VIRTUAL + host->config->host_base; }

#define PUBLISH_EXITS 256 /* the counters go to the ring's header now and then: it is a page more to touch */

static void publish_exits(struct vcpu *vcpu)
{
	struct record_ring *ring = vcpu->host->ring;

	for (u32 code = 0; code < EXIT_CODES; code++) {
		ring->exit_count[code] += vcpu->exit_count[code];
		vcpu->exit_count[code] = 0;
	}
	ring->exits += vcpu->exits;
	vcpu->exits = 0;
}

static void log_statistics(struct vcpu *vcpu)
{
	const struct record_ring *ring = vcpu->host->ring;

	publish_exits(vcpu);
	for (u32 code = 0; code < 0x100; code++) {
		if (ring->exit_count[code])
			log_write(vcpu, (struct record){ .kind = RECORD_STATS, .address = code, .value = ring->exit_count[code] });
	}
}

void host_halt(void)
{
	for (;;)
		__asm__ volatile("cli; hlt");
}

void host_stop(struct vcpu *vcpu, enum record_end reason, u64 value, u64 extra)
{
	u64 pc = vmcb(vcpu) ? guest_pc(vcpu) : 0;

	log_statistics(vcpu);
	log_write(vcpu, (struct record){ .kind = RECORD_END, .rip = pc, .address = reason, .value = value, .extra = extra,
					 .aux = vmcb(vcpu) ? (u32)vmcb(vcpu)->control.exit_code : 0 });
	host_halt();
}

void host_fail(struct vcpu *vcpu, const char *text, u32 line)
{
	log_text(vcpu, text, line);
	log_write(vcpu, (struct record){ .kind = RECORD_END, .address = RECORD_END_ASSERT, .value = line });
	host_halt();
}

/*
 * TSC frequency by the HPET: independent of the APIC, whose accesses QEMU may be tracing.
 * (IA-PC HPET specification 1.0a, section 2.3; QEMU's counts at 100 MHz.)
 */
#define HPET            0xFED00000ull
#define HPET_CONFIG     0x010
#define HPET_COUNTER    0x0F0
#define HPET_ENABLE     1u
#define HPET_TICK_NS    10ull
#define CALIBRATION_NS  500000ull
#define CALIBRATION_LOOKS 4
#define FALLBACK_TSC_KHZ 1000000ull

struct moment {
	u64 tsc, width;
	u32 hpet;
};

/* Both counters at one time. Anything may come between two instructions: of several looks, the one that took least. */
static struct moment look(void)
{
	struct moment best = { .width = ~0ull };

	for (u32 i = 0; i < CALIBRATION_LOOKS; i++) {
		u64 before = rdtsc();
		u32 hpet = mmio_read32(HPET + HPET_COUNTER);
		u64 width = rdtsc() - before;

		if (width < best.width)
			best = (struct moment){ .tsc = before + width / 2, .width = width, .hpet = hpet };
	}
	return best;
}

static void calibrate(struct host *host)
{
	struct moment first, last;
	u32 elapsed;

	mmio_write32(HPET + HPET_CONFIG, HPET_ENABLE);
	first = look();
	do {
		last = look();
		elapsed = last.hpet - first.hpet;
	} while (elapsed < CALIBRATION_NS / HPET_TICK_NS && (elapsed || last.tsc - first.tsc < 1000000000));
	mmio_write32(HPET + HPET_CONFIG, 0);
	mmio_write32(HPET + HPET_COUNTER, 0);
	mmio_write32(HPET + HPET_COUNTER + 4, 0);
	host->tsc_khz = elapsed ? (last.tsc - first.tsc) * 1000000 / (elapsed * HPET_TICK_NS) : FALLBACK_TSC_KHZ;
	host->tsc_to_ns = (1000000ull << 32) / host->tsc_khz;
	host->ns_to_tsc = (host->tsc_khz << 32) / 1000000;
	host->tsc_start = first.tsc;
}

static void check_config(struct host *host)
{
	const struct host_config *config = host->config;
	struct vcpu *vcpu = &host->vcpu[0];

	if (config->magic != CONFIG_MAGIC || config->version != CONFIG_VERSION || config->size != sizeof(*config))
		host_stop(vcpu, RECORD_END_CONFIG, offsetof(struct host_config, magic), config->version);
	if (!config->vcpus || config->vcpus > HOST_MAX_VCPUS)
		host_stop(vcpu, RECORD_END_CONFIG, offsetof(struct host_config, vcpus), config->vcpus);
	if (config->vcpus > 1 && config->apic == CONFIG_APIC_QEMU) /* it is one processor's */
		host_stop(vcpu, RECORD_END_CONFIG, offsetof(struct host_config, vcpus), config->vcpus);
	if (config->host_base & (BIT(30) - 1)) /* reset.S maps it with a 1 GiB page */
		host_stop(vcpu, RECORD_END_CONFIG, offsetof(struct host_config, host_base), config->host_base);
	if (config->cbit != 51 && config->cbit != 47)
		host_stop(vcpu, RECORD_END_CONFIG, offsetof(struct host_config, cbit), config->cbit);
	if (config->guest_vmpl >= CONFIG_VMPLS || (config->svsm_size != 0) != (config->guest_vmpl != 0))
		host_stop(vcpu, RECORD_END_CONFIG, offsetof(struct host_config, guest_vmpl), config->guest_vmpl);
	if (config->apic > CONFIG_APIC_QEMU || (config->apic == CONFIG_APIC_QEMU && (config->vmsa_features & SEV_FEATURES_ALTERNATE_INJECTION)))
		host_stop(vcpu, RECORD_END_CONFIG, offsetof(struct host_config, apic), config->apic);
	if (config->policy > CONFIG_POLICY_X2APIC_AT_RESET)
		host_stop(vcpu, RECORD_END_CONFIG, offsetof(struct host_config, policy), config->policy);
	if (!config->fault_every)
		host_stop(vcpu, RECORD_END_CONFIG, offsetof(struct host_config, fault_every), config->fault_every);
	if (config->sections > CONFIG_SECTIONS)
		host_stop(vcpu, RECORD_END_CONFIG, offsetof(struct host_config, sections), config->sections);
}

static u64 misc1_intercepts(struct vcpu *vcpu)
{
	u64 bits = SVM_INTERCEPT_CPUID | SVM_INTERCEPT_IOIO | SVM_INTERCEPT_MSR | SVM_INTERCEPT_SHUTDOWN |
		   SVM_INTERCEPT_SMI; /* by an I/O APIC entry: it would be the host's */

	if (vcpu->host->config->apic == CONFIG_APIC_VIRTUAL)
		bits |= SVM_INTERCEPT_INTR | SVM_INTERCEPT_NMI | SVM_INTERCEPT_HLT;
	if (vcpu->host->vcpus > 1)
		bits |= SVM_INTERCEPT_PAUSE;
	if (vc_on(vcpu, CONFIG_VC_RDTSC | CONFIG_VC_RDTSCP)) /* see rdtsc_exit() */
		bits |= SVM_INTERCEPT_RDTSC;
	if (vc_on(vcpu, CONFIG_VC_RDPMC))
		bits |= SVM_INTERCEPT_RDPMC;
	if (vc_on(vcpu, CONFIG_VC_WBINVD))
		bits |= SVM_INTERCEPT_INVD;
	return bits;
}

static u64 misc2_intercepts(struct vcpu *vcpu)
{
	u64 bits = SVM_INTERCEPT_VMRUN | SVM_INTERCEPT_VMMCALL | SVM_INTERCEPT_VMLOAD | SVM_INTERCEPT_VMSAVE | SVM_INTERCEPT_STGI |
		   SVM_INTERCEPT_CLGI | SVM_INTERCEPT_SKINIT;

	if (vc_on(vcpu, CONFIG_VC_WBINVD))
		bits |= SVM_INTERCEPT_WBINVD;
	if (vc_on(vcpu, CONFIG_VC_MONITOR))
		bits |= SVM_INTERCEPT_MONITOR | SVM_INTERCEPT_MWAIT;
	return bits;
}

static void setup_vmpl(struct vcpu *vcpu, u32 vmpl, u64 io_permissions, u64 msr_permissions)
{
	struct vmpl_state *state = &vcpu->state[vmpl];
	struct vmcb_control *control;

	state->vmcb = host_alloc(vcpu->host, PAGE_SIZE, PAGE_SIZE);
	state->vmcb_pa = (u64)state->vmcb;
	state->xsave = host_alloc(vcpu->host, PAGE_SIZE, PAGE_SIZE);
	*(a16 *)state->xsave = 0x37F;          /* FCW */
	*(a32 *)(state->xsave + 24) = 0x1F80;  /* MXCSR */
	*(a64 *)(state->xsave + 512) = 3;      /* XSTATE_BV: x87 and SSE are in the area */
	state->xcr0 = 1;
	state->dr7 = DR7_RESET;
	state->ghcb_gpa = NO_GPA;
	state->vmsa_gpa = NO_GPA;
	state->init_vmsa_gpa = NO_GPA;

	control = &state->vmcb->control;
	control->intercept_exception = vcpu->host->sev ? SVM_INTERCEPT_EXC_UD : 0;
	control->intercept_misc1 = (u32)misc1_intercepts(vcpu);
	control->intercept_misc2 = (u32)misc2_intercepts(vcpu);
	if (vc_on(vcpu, CONFIG_VC_DR7))
		control->intercept_dr = (u32)(SVM_INTERCEPT_DR7_READ | SVM_INTERCEPT_DR7_WRITE);
	control->vintr = vcpu->apic_virtual ? SVM_V_INTR_MASKING : 0;
	control->iopm_base = io_permissions;
	control->msrpm_base = msr_permissions;
	control->asid = vcpu->index * CONFIG_VMPLS + vmpl + 1;
	control->nested_control = SVM_NESTED_PAGING;
}

static void setup_vcpu(struct vcpu *vcpu, u64 io_permissions, u64 msr_permissions)
{
	vcpu->hold_ghcb = NO_GPA;
	for (u32 vmpl = 0; vmpl < CONFIG_VMPLS; vmpl++)
		setup_vmpl(vcpu, vmpl, io_permissions, msr_permissions);
	apic_setup(vcpu);
}

/* The one processor that runs the host, and every vCPU. */
static void setup_processor(struct host *host)
{
	struct cpuid_result features;

	set_cr4(get_cr4() | CR4_OSFXSR | CR4_OSXSAVE); /* vmpl.c moves the FPU's state */
	features = cpuid(CPUID_XSAVE, 0); /* EDX:EAX of subleaf 0: what XCR0 may have */
	host->xcr0_all = features.eax | (u64)features.edx << 32;
	host->cr0 = get_cr0();
	host->cr4 = get_cr4();
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, (u64)host_alloc(host, PAGE_SIZE, PAGE_SIZE));
	__asm__ volatile("clgi; sti");
}

static void setup_vcpus(struct host *host)
{
	u8 *io_permissions = host_alloc(host, 3 * PAGE_SIZE, PAGE_SIZE);
	u8 *msr_permissions = host_alloc(host, 2 * PAGE_SIZE, PAGE_SIZE);

	io_setup(host, io_permissions);
	msr_setup(host, msr_permissions);
	for (u32 i = 0; i < host->vcpus; i++)
		setup_vcpu(&host->vcpu[i], (u64)io_permissions, (u64)msr_permissions);
}

/*
 * Bits of CR0 and CR4 that make TCG flush its TLB when VMRUN or #VMEXIT changes them. The host's follow the
 * guest's, as none of them matters to it; what stays different is LA57.
 */
#define FLUSHING_CR0 CR0_WP
#define FLUSHING_CR4 (CR4_PSE | CR4_PGE | CR4_SMEP | CR4_SMAP)

static void follow_control_registers(struct host *host, const struct vmcb_save *save)
{
	if ((save->cr0 ^ host->cr0) & FLUSHING_CR0) {
		host->cr0 ^= (save->cr0 ^ host->cr0) & FLUSHING_CR0;
		set_cr0(host->cr0);
	}
	if ((save->cr4 ^ host->cr4) & FLUSHING_CR4) {
		host->cr4 ^= (save->cr4 ^ host->cr4) & FLUSHING_CR4;
		set_cr4(host->cr4);
	}
}

static _Noreturn __attribute__((noinline)) void run(struct vcpu *vcpu)
{
	vmload(current(vcpu)->vmcb_pa);
	current(vcpu)->hidden_current = true;
	vmcb(vcpu)->control.nested_cr3 = npt_root(vcpu);
	for (;;) {
		struct vmpl_state *state;
		u64 code;

		if (vcpu->yield)
			vcpu = schedule(vcpu);
		apic_before_entry(vcpu); /* may switch to VMPL0 */
		state = current(vcpu);
		state->vmcb->save.efer |= EFER_SVME; /* the guest may have cleared it; VMRUN needs it */
		follow_control_registers(vcpu->host, &state->vmcb->save);
		vm_enter(state->gpr, state->vmcb_pa);
		code = state->vmcb->control.exit_code;
		vcpu->exit_count[code < 0xFE ? code : code == SVM_EXIT_NPF ? 0xFE : 0xFF]++;
		if (++vcpu->exits == PUBLISH_EXITS)
			publish_exits(vcpu);
		apic_after_exit(vcpu);
		event_after_exit(vcpu);
		handle_exit(vcpu);
	}
}

static void name_vcpu(struct host *host, u32 index)
{
	struct vcpu *vcpu = &host->vcpu[index];

	vcpu->host = host;
	vcpu->index = index;
	vcpu->guest_vmpl = (u8)host->config->guest_vmpl;
	vcpu->apic_virtual = host->config->apic == CONFIG_APIC_VIRTUAL;
	vcpu->log_level = host->config->log_level;
}

void host_main(void)
{
	struct host *host = &the_host;
	struct vcpu *vcpu = &host->vcpu[0];
	bool restarted;

	memcpy(&the_config, (const void *)(u64)CONFIG_ROM, sizeof(the_config));
	host->config = &the_config;
	name_vcpu(host, 0);
	*(struct vcpu **)(host_stacks + STACK_SIZE - 8) = vcpu;
	interrupts_setup();
	restarted = !log_open(host);
	calibrate(host);
	if (restarted) /* INIT, by an I/O APIC entry or an IPI of QEMU's APIC: TCG resets the processor though it runs a guest */
		host_stop(vcpu, RECORD_END_INIT, 0, 0);
	check_config(host);
	host->vcpus = host->config->vcpus;
	host->sev = (host->config->sev_status[host->config->guest_vmpl] & SEV_STATUS_SNP) != 0;
	host->c_bit = host->sev ? BIT(host->config->cbit) : 0;
	host->allocated = physical(host, host_bss_end);
	log_write(vcpu, (struct record){ .kind = RECORD_START, .address = host->tsc_khz, .value = sizeof(struct record),
					 .extra = CONFIG_VERSION, .aux = host->config->vcpus });
	memory_setup(host);
	npt_setup(host);
	for (u32 i = 0; i < host->vcpus; i++) {
		name_vcpu(host, i);
		host->vcpu[i].vmpl = host->sev && host->config->svsm_size ? 0 : (u8)host->config->guest_vmpl;
	}
	setup_processor(host);
	setup_vcpus(host);
	launch(vcpu);
	for (u32 i = 1; i < host->vcpus; i++)
		startup_reset(&host->vcpu[i]);
	run(vcpu);
}
