import { cardScenario } from "./ipxe-ne2000-isa.ts";

export default cardScenario({
  name: "ipxe-ne2000-pci",
  why: "Debian's unmodified iPXE, started by Debian's SeaBIOS, drives the RTL8029 on the PCI bus (10ec:8029) with its own driver.",
  model: "rtl8029",
  found: "using rtl8029 on 0000:00:03.0",
});
