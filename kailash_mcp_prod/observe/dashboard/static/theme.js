// Before the first paint, so that nobody sees the other theme flash by.
(() => {
  let chosen = "auto";
  try {
    chosen = localStorage.getItem("dashboard-theme") || "auto";
  } catch {
    // A browser that keeps nothing follows the system.
  }
  if (chosen === "light" || chosen === "dark") {
    document.documentElement.dataset.theme = chosen;
  }
})();
