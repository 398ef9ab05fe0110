/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Start of the emulator, and the loop that runs the guest. */
#include "bytes.h"
#include "catch.h"
#include "fw_cfg.h"
#include "injection.h"
#include "interrupts.h"
#include "io.h"
#include "launch_list.h"
#include "layout.h"
#include "loop.h"
#include "memory.h"
#include "msr.h"
#include "own_msr.h"
#include "startup.h"

extern u8 host_stacks[], host_bss_end[];

void host_main(void); /* from start.S */

_Static_assert(offsetof(struct host_config, host_base) == CONFIG_OFFSET_HOST_BASE, "layout.h");
_Static_assert(HOST_PROCESSORS == HW_CPUS, "layout.h");
_Static_assert(offsetof(struct host_config, cbit) == CONFIG_OFFSET_CBIT, "layout.h");

static struct machine the_machine __attribute__((section(".bss.hot.machine"), aligned(64)));
static struct host_config the_config __attribute__((section(".bss.hot.config"), aligned(64)));
static struct hypervisor the_hypervisor __attribute__((section(".bss.hot.hypervisor"), aligned(64)));

#define CHECK(field, good)                                                                                  \
	do {                                                                                                \
		if (!(good))                                                                                \
			hw_stop(cpu, RECORD_END_CONFIG, offsetof(struct host_config, field), config->field); \
	} while (0)

static void check_config(struct hypervisor *hv)
{
	const struct host_config *config = hv->config;
	struct hw_cpu *cpu = hv->vcpu[0].cpu;

	if (config->magic != CONFIG_MAGIC || config->version != CONFIG_VERSION || config->size != sizeof(*config))
		hw_stop(cpu, RECORD_END_CONFIG, offsetof(struct host_config, magic), config->version);
	CHECK(vcpus, config->vcpus && config->vcpus <= HW_CPUS);
	CHECK(vcpus, config->vcpus == 1 || config->apic != CONFIG_APIC_QEMU); /* it is one processor's */
	CHECK(host_base, !(config->host_base & (BIT(30) - 1))); /* reset.S maps it with a 1 GiB page */
	CHECK(cbit, config->cbit == 51 || config->cbit == 47);
	CHECK(guest_vmpl, config->guest_vmpl < CONFIG_VMPLS);
	CHECK(apic, config->apic <= CONFIG_APIC_QEMU);
	CHECK(apic, config->apic != CONFIG_APIC_QEMU || !(config->vmsa_features & SEV_FEATURES_ALTERNATE_INJECTION));
	CHECK(policy, config->policy <= CONFIG_POLICY_X2APIC_AT_RESET);
	CHECK(fault_every, config->fault_every);
}

/* Whether an exit of an SEV guest becomes #VC. */
static bool vc_on(const struct hypervisor *hv, u64 exit) { return hv->es && (hv->config->vc_exits & exit); }

static u32 misc1_intercepts(const struct hypervisor *hv)
{
	u64 bits = 0;

	if (hv->config->apic == CONFIG_APIC_VIRTUAL)
		bits |= SVM_INTERCEPT_INTR | SVM_INTERCEPT_NMI | SVM_INTERCEPT_HLT;
	if (hv->vcpus > 1)
		bits |= SVM_INTERCEPT_PAUSE;
	if (vc_on(hv, CONFIG_VC_RDTSC))
		bits |= SVM_INTERCEPT_RDTSC;
	if (vc_on(hv, CONFIG_VC_RDPMC))
		bits |= SVM_INTERCEPT_RDPMC;
	if (vc_on(hv, CONFIG_VC_WBINVD))
		bits |= SVM_INTERCEPT_INVD;
	return (u32)bits;
}

static u32 misc2_intercepts(const struct hypervisor *hv)
{
	u64 bits = 0;

	if (vc_on(hv, CONFIG_VC_RDTSCP))
		bits |= SVM_INTERCEPT_RDTSCP;
	if (vc_on(hv, CONFIG_VC_WBINVD))
		bits |= SVM_INTERCEPT_WBINVD;
	if (vc_on(hv, CONFIG_VC_MONITOR))
		bits |= SVM_INTERCEPT_MONITOR | SVM_INTERCEPT_MWAIT;
	return (u32)bits;
}

static void setup_vcpu(struct vcpu *vcpu, const struct hw_controls *controls)
{
	vcpu->cpu = hw_cpu_setup(vcpu->hv->hw, vcpu->index, controls);
	hw_vmpl_select(vcpu->cpu, vcpu->vmpl);
	vcpu->hold_ghcb = NO_GPA;
	for (u32 vmpl = 0; vmpl < CONFIG_VMPLS; vmpl++) {
		struct vmpl_state *state = &vcpu->state[vmpl];

		state->dr7 = DR7_RESET;
		state->xcr0 = 1;
		state->ghcb_gpa = NO_GPA;
		state->vmsa_gpa = NO_GPA;
		state->init_vmsa_gpa = NO_GPA;
	}
	own_msr_reset(vcpu);
	injection_setup(vcpu);
}

static void setup_vcpus(struct hypervisor *hv)
{
	const struct hw_controls controls = {
		.intercept_dr = vc_on(hv, CONFIG_VC_DR7) ? (u32)(SVM_INTERCEPT_DR7_READ | SVM_INTERCEPT_DR7_WRITE) : 0,
		.intercept_misc1 = misc1_intercepts(hv),
		.intercept_misc2 = misc2_intercepts(hv),
		.vintr = hv->config->apic == CONFIG_APIC_VIRTUAL ? SVM_V_INTR_MASKING : 0,
		.native_io = io_is_native(hv),
		.native_cpuid = !vc_on(hv, CONFIG_VC_CPUID),
		.native_msr = !vc_on(hv, CONFIG_VC_MSR),
		.io_permissions = hw_take(hv->hw, 3 * PAGE_SIZE, PAGE_SIZE),
		.msr_permissions = hw_take(hv->hw, 2 * PAGE_SIZE, PAGE_SIZE),
	};

	io_setup(hv, controls.io_permissions);
	msr_setup(hv, controls.msr_permissions);
	for (u32 i = 0; i < hv->vcpus; i++)
		setup_vcpu(&hv->vcpu[i], &controls);
}

static _Noreturn __attribute__((noinline)) void run(struct vcpu *vcpu)
{
	hw_cpu_start(vcpu->cpu);
	for (;;) {
		struct hw_exit exit;

		if (vcpu->yield && !vcpu->stepping)
			vcpu = schedule(vcpu);
		injection_before_entry(vcpu); /* may switch to VMPL0 */
		ring_gate(vcpu->hv->machine);
		hw_vmrun(vcpu->cpu, &vcpu->request, &exit);
		injection_after_exit(vcpu, &exit);
		exit_handle(vcpu, &exit);
	}
}

static void name_vcpu(struct hypervisor *hv, u32 index)
{
	struct vcpu *vcpu = &hv->vcpu[index];

	vcpu->hv = hv;
	vcpu->index = index;
	vcpu->guest_vmpl = (u8)hv->config->guest_vmpl;
	vcpu->vmpl = 0; /* with an SVSM its, else the guest's */
	vcpu->apic_virtual = hv->config->apic == CONFIG_APIC_VIRTUAL;
	vcpu->log_level = hv->config->log_level;
}

/* The log is open, and the clock runs. */
static void start_machine(struct machine *machine, struct hw_cpu *cpu)
{
	bool restarted = !ring_open(machine);

	clock_calibrate(machine);
	if (restarted) /* INIT, by an I/O APIC entry or an IPI of QEMU's APIC: TCG resets the processor though it runs a guest */
		hw_stop(cpu, RECORD_END_INIT, 0, 0);
	machine->allocated = (u64)host_bss_end - HOST_VIRTUAL + machine->config->host_base;
}

void host_main(void)
{
	struct hypervisor *hv = &the_hypervisor;
	struct vcpu *vcpu = &hv->vcpu[0];
	u64 sev_status;

	memcpy(&the_config, (const void *)(u64)CONFIG_ROM, sizeof(the_config));
	the_machine.config = &the_config;
	hv->machine = &the_machine;
	hv->config = &the_config;
	vcpu->cpu = hw_first_cpu(&the_machine);
	*(struct vcpu **)(host_stacks + STACK_SIZE - 8) = vcpu;
	*(void (**)(struct vcpu *, u32))(host_stacks + STACK_SIZE - 16) = device_interrupt;
	interrupts_setup();
	start_machine(&the_machine, vcpu->cpu);
	check_config(hv);
	hv->vcpus = hv->config->vcpus;
	sev_status = hv->config->sev_status[hv->config->guest_vmpl];
	hv->snp = sev_status & SEV_STATUS_SNP;
	hv->es = sev_status & SEV_STATUS_SEV_ES;
	hv->encrypted = sev_status & SEV_STATUS_SEV;
	hw_log(vcpu->cpu, (struct record){ .kind = RECORD_START, .address = hv->machine->tsc_khz, .value = sizeof(struct record),
					   .extra = CONFIG_VERSION, .aux = hv->config->vcpus });
	hv->hw = hw_setup(&the_machine);
	launch_list_check(hv);
	memory_setup(hv);
	fw_cfg_setup(hv);
	for (u32 i = 0; i < hv->vcpus; i++)
		name_vcpu(hv, i);
	setup_vcpus(hv);
	launch(vcpu);
	hw_dma_start(hv->hw);
	catch_start(hv);
	for (u32 i = 1; i < hv->vcpus; i++)
		startup_reset(&hv->vcpu[i]);
	run(vcpu);
}
