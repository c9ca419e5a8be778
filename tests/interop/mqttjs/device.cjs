// A device made with MQTT.js: `node device.cjs URL CA_FILE COMBINED_FILE VERSION`. Prints one JSON object of what
// each step returned. Run with the library's node_modules in NODE_PATH.
"use strict";
const fs = require("node:fs");
const mqtt = require("mqtt");

const [url, caFile, combinedFile, version] = process.argv.slice(2);
const ASKED = 4;
const combined = fs.readFileSync(combinedFile);

async function main() {
  const done = {};
  const client = await mqtt.connectAsync(url, {
    ca: fs.readFileSync(caFile),
    cert: combined,
    key: combined,
    protocolVersion: Number(version),
    connectTimeout: 10000,
    reconnectPeriod: 0,
    // With MQTT 5 the server then sends a number in the place of a topic that repeats.
    properties: version === "5" ? { topicAliasMaximum: 5 } : undefined,
  });
  done.connected = client.connected;
  const answered = new Promise((resolve, reject) => {
    const answers = [];
    client.on("message", (topic, payload) => {
      answers.push({ topic, payload: JSON.parse(payload.toString()) });
      if (answers.length === ASKED) resolve(answers);
    });
    setTimeout(() => reject(new Error("no answer within 10 s")), 10000).unref();
  });
  const granted = await client.subscribeAsync("v1/devices/me/attributes/response/+", { qos: 1 });
  done.granted = granted.map((one) => one.qos);
  await client.publishAsync("v1/devices/me/telemetry", JSON.stringify({ temperature: 21.5 }), { qos: 1 });
  await client.publishAsync("v1/devices/me/telemetry", JSON.stringify({ note: "x".repeat(40000) }), { qos: 2 });
  await client.publishAsync("v1/devices/me/attributes", JSON.stringify({ model: "T-1000" }), { qos: 1 });
  const request = JSON.stringify({ clientKeys: "model" });
  for (let asked = 0; asked < ASKED; asked++) {
    await client.publishAsync("v1/devices/me/attributes/request/3", request, { qos: 1 });
  }
  done.answers = await answered;
  await client.endAsync();
  return done;
}

main().then(
  (done) => process.stdout.write(JSON.stringify(done) + "\n"),
  (error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exitCode = 1;
  },
);
