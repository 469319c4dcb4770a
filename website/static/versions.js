// A list of the site's versions in the sidebar, which leads to the same page of another one, or to its first page.
// The list itself is beside the folders of the versions; without it, as in a folder of one version alone, nothing shows.
(() => {
  const root = new URL(document.documentElement.dataset.content_root || "./", location.href);
  const page = location.pathname.slice(root.pathname.length) || "index.html";
  const here = root.pathname.split("/").at(-2);

  function show() {
    const place = document.querySelector(".sidebar-brand");
    if (!place || !window.pullbackVersions) return;
    const select = document.createElement("select");
    select.id = "versions";
    select.setAttribute("aria-label", "version");
    for (const entry of window.pullbackVersions) {
      const option = document.createElement("option");
      option.textContent = entry.latest ? `${entry.version} (latest)` : entry.version;
      option.value = new URL(`../${entry.url}${entry.pages.includes(page) ? page : "index.html"}`, root).href;
      option.selected = entry.version === here || (entry.latest && here === "latest");
      select.append(option);
    }
    select.addEventListener("change", () => { location.href = select.value; });
    place.after(select);
  }

  const list = document.createElement("script");
  list.src = new URL("../versions.js", root).href;
  list.onload = show;
  document.head.append(list);
})();
