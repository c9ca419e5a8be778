// A device made with MQTT.js: `node device.cjs URL CA_FILE COMBINED_FILE VERSION`. Prints one JSON object of what
// each step returned. Run with the library's node_modules in NODE_PATH.
"use strict";
const fs = require("node:fs");
const mqtt = require("mqtt");

const [url, caFile, combinedFile, version] = process.argv.slice(2);
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
  });
  done.connected = client.connected;
  const answered = new Promise((resolve, reject) => {
    client.once("message", (topic, payload) => resolve({ topic, payload: JSON.parse(payload.toString()) }));
    setTimeout(() => reject(new Error("no answer within 10 s")), 10000).unref();
  });
  const granted = await client.subscribeAsync("v1/devices/me/attributes/response/+", { qos: 1 });
  done.granted = granted.map((one) => one.qos);
  await client.publishAsync("v1/devices/me/telemetry", JSON.stringify({ temperature: 21.5 }), { qos: 1 });
  await client.publishAsync("v1/devices/me/telemetry", JSON.stringify({ note: "x".repeat(40000) }), { qos: 2 });
  await client.publishAsync("v1/devices/me/attributes", JSON.stringify({ model: "T-1000" }), { qos: 1 });
  await client.publishAsync("v1/devices/me/attributes/request/3", JSON.stringify({ clientKeys: "model" }), { qos: 1 });
  done.answer = await answered;
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
