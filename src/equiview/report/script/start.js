start(document.getElementById("live-part"), JSON.parse(document.getElementById("live-data").textContent));
