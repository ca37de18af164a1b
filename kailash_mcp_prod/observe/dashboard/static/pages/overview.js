export default { nav: "Overview", needs: "monitor", title: () => "Overview", load: async () => ({}), view: () => [] };
