/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Start of the hardware: its one processor, and the VMCBs of each vCPU. */
#include "cpu.h"
#include "debugger.h"
#include "msr_permissions.h"
#include "npt.h"
#include "sev.h"
#include "x86.h"
#include "xsave.h"
#include "xsave_format.h"

static struct hw the_hw __attribute__((section(".bss.hot.hardware"), aligned(4096)));

/* Intercepts that the hardware needs itself. */
#define OWN_MISC1 (SVM_INTERCEPT_CPUID | SVM_INTERCEPT_INVLPGA | SVM_INTERCEPT_IOIO | SVM_INTERCEPT_MSR | \
		   SVM_INTERCEPT_SHUTDOWN | SVM_INTERCEPT_SMI) /* of a message: without effect */
#define OWN_MISC2 (SVM_INTERCEPT_VMRUN | SVM_INTERCEPT_VMMCALL | SVM_INTERCEPT_VMLOAD | SVM_INTERCEPT_VMSAVE | \
		   SVM_INTERCEPT_STGI | SVM_INTERCEPT_CLGI | SVM_INTERCEPT_SKINIT)

/* The one processor that runs the emulator, and every vCPU. */
static void setup_processor(struct hw *hw)
{
	struct cpuid_result features;

	set_cr4(get_cr4() | CR4_OSFXSR | CR4_OSXSAVE); /* vmsa_switch.c moves the FPU's state */
	features = cpuid(CPUID_XSAVE, 0); /* EDX:EAX of subleaf 0: what XCR0 may have */
	hw->xcr0_all = features.eax | (u64)features.edx << 32;
	hw->cr0 = get_cr0();
	hw->cr4 = get_cr4();
	wrmsr(MSR_EFER, rdmsr(MSR_EFER) | EFER_SVME);
	wrmsr(MSR_VM_HSAVE_PA, (u64)hw_take(hw, PAGE_SIZE, PAGE_SIZE));
	xsave_setup();
	__asm__ volatile("clgi; sti");
}

static void name_cpu(struct hw *hw, u32 index)
{
	hw->cpu[index].hw = hw;
	hw->cpu[index].machine = hw->machine;
	hw->cpu[index].index = index;
	hw->cpu[index].log_level = hw->machine->config->log_level;
}

void *hw_take(struct hw *hw, u64 size, u64 alignment)
{
	struct machine *machine = hw->machine;
	u64 start = (machine->allocated + alignment - 1) & ~(alignment - 1);

	/* QEMU's RAM starts as zeros, and a run never restarts: -no-reboot. The last two pages are struct view and record_account. */
	if (start + size > machine->config->host_base + machine->config->host_size - 2 * PAGE_SIZE)
		hw_fail(&hw->cpu[0], "host RAM is too small", __LINE__);
	machine->allocated = start + size;
	return (void *)start;
}

struct hw_cpu *hw_first_cpu(struct machine *machine)
{
	the_hw.machine = machine;
	name_cpu(&the_hw, 0);
	return &the_hw.cpu[0];
}

struct hw *hw_setup(struct machine *machine)
{
	const struct host_config *config = machine->config;
	struct hw *hw = &the_hw;
	u64 sev_status = config->sev_status[config->guest_vmpl];

	hw->snp = sev_status & SEV_STATUS_SNP;
	hw->es = sev_status & SEV_STATUS_SEV_ES;
	hw->encrypted = sev_status & SEV_STATUS_SEV;
	hw->c_bit = hw->encrypted ? BIT(config->cbit) : 0;
	hw->strict = config->strict;
	psp_guest_begin(&hw->psp, config->psp_seed);
	npt_setup(hw);
	setup_processor(hw);
	return hw;
}

static void intercept_own_msrs(const struct hw *hw, u8 *permissions)
{
	static const u32 own[] = { SEV_MSR_GHCB, SEV_MSR_STATUS, MSR_VM_CR, MSR_VM_HSAVE_PA };

	for (u32 i = 0; i < sizeof(own) / sizeof(own[0]); i++)
		msr_intercept(permissions, own[i]);
	if (hw->es)
		msr_intercept(permissions, MSR_XSS);
}

static void setup_vmpl(struct hw_cpu *cpu, u32 vmpl, const struct hw_controls *controls)
{
	struct hw_vmpl *state = &cpu->state[vmpl];
	struct vmcb_control *control;
	u32 misc2 = controls->intercept_misc2;

	state->vmcb = hw_take(cpu->hw, PAGE_SIZE, PAGE_SIZE);
	state->xsave = hw_take(cpu->hw, PAGE_SIZE, PAGE_SIZE);
	*(a16 *)(state->xsave + XSAVE_FCW) = XSAVE_FCW_INIT;
	*(a32 *)(state->xsave + XSAVE_MXCSR) = XSAVE_MXCSR_INIT;
	*(a64 *)(state->xsave + XSAVE_XSTATE_BV) = XSTATE_X87 | XSTATE_SSE;
	state->xcr0 = 1;
	state->vmsa_gpa = NO_GPA;
	state->offered = -1;
	hw_vmsa_features(cpu, vmpl, 0);

	control = &state->vmcb->control;
	control->intercept_exception = cpu->hw->es ? SVM_INTERCEPT_EXC_UD | SVM_INTERCEPT_EXC_GP : 0;
	control->intercept_misc1 = controls->intercept_misc1 | (u32)OWN_MISC1;
	if (misc2 & SVM_INTERCEPT_RDTSCP) /* TCG has one intercept for both */
		control->intercept_misc1 |= (u32)SVM_INTERCEPT_RDTSC;
	control->intercept_misc2 = (misc2 & ~(u32)SVM_INTERCEPT_RDTSCP) | (u32)OWN_MISC2;
	control->intercept_dr = controls->intercept_dr;
	control->vintr = controls->vintr;
	control->iopm_base = (u64)controls->io_permissions;
	control->msrpm_base = (u64)controls->msr_permissions;
	control->asid = cpu->index * CONFIG_VMPLS + vmpl + 1;
	control->nested_control = SVM_NESTED_PAGING;
}

struct hw_cpu *hw_cpu_setup(struct hw *hw, u32 index, const struct hw_controls *controls)
{
	struct hw_cpu *cpu = &hw->cpu[index];

	name_cpu(hw, index);
	cpu->posted = -1;
	cpu->injected = -1;
	cpu->executable[0] = cpu->executable[1] = NO_GPA;
	hw->vc_rdtsc = hw->es && (controls->intercept_misc1 & SVM_INTERCEPT_RDTSC);
	hw->vc_rdtscp = hw->es && (controls->intercept_misc2 & SVM_INTERCEPT_RDTSCP);
	hw->native_io = controls->native_io;
	hw->native_cpuid = controls->native_cpuid;
	hw->native_msr = controls->native_msr;
	hw->shortcuts = hw->machine->config->shortcuts;
	intercept_own_msrs(hw, controls->msr_permissions);
	for (u32 vmpl = 0; vmpl < CONFIG_VMPLS; vmpl++)
		setup_vmpl(cpu, vmpl, controls);
	debugger_add_cpu(cpu);
	return cpu;
}
