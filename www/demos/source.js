// Shows the demo's own program on its page.

const response = await fetch("main.js");
document.querySelector("#source").textContent = (await response.text()).trimEnd();
