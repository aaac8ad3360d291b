import { ipxeScenario } from "./ipxe-ne2000-isa.ts";

const MAC = "00:16:3e:12:34:56";
/** XenbusStateConnected. */
const CONNECTED = 4;
/** The sides of a ring's events: 0 front end, 1 back end. */
const BACK = 1;

export default ipxeScenario({
  name: "ipxe-netfront",
  why: "Debian's unmodified iPXE, started by Debian's SeaBIOS in an HVM guest with the Xen platform device, drives our netback with its own netfront.",
  driver: "netfront",
  board: { showsXen: true, xenPlatform: true },
  vifs: [{ address: MAC }],
  found: `net0: ${MAC} using netfront`,
  expect: {
    "both ends connect": (run) =>
      [0, 1].every((end) =>
        run
          .events("xenbus-state")
          .some(({ device, side, state }) => device === "vif/0" && side === end && state === CONNECTED),
      ),
    "the back end fetches each slot once and answers it well": (run) => {
      const requests = run.events("netif-tx-request").filter(({ side }) => side === BACK);
      const responses = run.events("netif-tx-response").filter(({ side }) => side === BACK);
      return (
        requests.length > 0 &&
        new Set(requests.map(({ index }) => index)).size === requests.length &&
        requests.every(({ index, id }, number) => {
          const response = responses[number];
          return response?.index === index && response.id === id && response.status === 0;
        })
      );
    },
    "every frame for the guest arrives in a page that it posted": (run) =>
      run.events("netif-rx-response").some(({ side, status }) => side === BACK && status > 0) &&
      run.events("packet-dropped").every(({ reason }) => reason === "no carrier"),
  },
});
