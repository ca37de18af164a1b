export default { nav: "Audit", needs: "monitor", title: () => "Audit", load: async () => ({}), view: () => [] };
