import java.io.EOFException;
import java.io.FileInputStream;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.security.KeyStore;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.fusesource.mqtt.client.BlockingConnection;
import org.fusesource.mqtt.client.MQTT;
import org.fusesource.mqtt.client.MQTTException;
import org.fusesource.mqtt.client.Message;
import org.fusesource.mqtt.client.QoS;
import org.fusesource.mqtt.client.Topic;

/**
 * A device that proves itself with its certificate, in Java: key, certificate and the server's certificate come
 * from one key store, mqttclient.jks. Needs a JDK (11 or newer) and one MQTT client library, mqtt-client:
 *
 * <pre>
 * apt-get install default-jdk-headless libmqtt-client-java
 * java -cp '/usr/share/java/*' MqttSslClient.java [HOST [PORT [STORE [MESSAGES]]]]
 * </pre>
 *
 * The store's password is read from the environment variable CLIENT_KEYSTORE_PASSWORD, the key's from
 * CLIENT_KEY_PASSWORD; both are "password" as in keygen.properties when not set.
 */
public class MqttSslClient {
    private static final Topic[] TOPICS = {
        new Topic("v1/devices/me/attributes", QoS.AT_LEAST_ONCE),
        new Topic("v1/devices/me/attributes/response/+", QoS.AT_LEAST_ONCE),
        new Topic("v1/devices/me/rpc/request/+", QoS.AT_LEAST_ONCE),
    };

    private static final String WHERE_TO_LOOK =
        "On the server, `thingpass connections --refused` says why and how to mend it.";

    public static void main(String[] args) throws Exception {
        String host = args.length > 0 ? args[0] : "localhost";
        int port = args.length > 1 ? Integer.parseInt(args[1]) : 8883;
        String store = args.length > 2 ? args[2] : "mqttclient.jks";
        int messages = args.length > 3 ? Integer.parseInt(args[3]) : 1;

        MQTT mqtt = new MQTT();
        mqtt.setHost("ssl://" + host + ":" + port);
        mqtt.setSslContext(sslContext(store));
        mqtt.setVersion("3.1.1");
        // One attempt: this program is for seeing what happens. A device in the field keeps trying.
        mqtt.setConnectAttemptsMax(0);
        mqtt.setReconnectAttemptsMax(0);

        BlockingConnection connection = mqtt.blockingConnection();
        try {
            connection.connect();
        } catch (MQTTException refused) {
            System.out.println("Connected with result code " + refused.connack.code().ordinal());
            System.err.println("Refused: " + refused.getMessage() + ".\n" + WHERE_TO_LOOK);
            System.exit(1);
        } catch (EOFException closed) {
            // This library loses the server's last words when they arrive together with the end of the connection.
            System.err.println("Refused: the server closed the connection.\n" + WHERE_TO_LOOK);
            System.exit(1);
        } catch (Exception failed) {
            System.err.println("Cannot connect to " + host + ":" + port + ": " + failed);
            System.exit(1);
        }
        System.out.println("Connected with result code 0");

        connection.subscribe(TOPICS);
        publish(connection, "v1/devices/me/attributes/request/1", "{\"clientKeys\":\"model\"}");
        Message answer = connection.receive(15, TimeUnit.SECONDS);
        if (answer == null) {
            System.err.println("The server did not answer the request for attributes.");
            System.exit(1);
        }
        print(answer.getTopic(), new String(answer.getPayload(), StandardCharsets.UTF_8));
        answer.ack();

        Random random = new Random();
        for (int sent = 0; sent < messages; sent++) {
            String values = "{\"temperature\":" + (200 + random.nextInt(50)) / 10.0 + ",\"humidity\":"
                + (35 + random.nextInt(20)) + "}";
            // Comes back when the server has acknowledged, and that means: stored.
            publish(connection, "v1/devices/me/telemetry", values);
            print("v1/devices/me/telemetry", values);
        }
        connection.disconnect();
        System.exit(0); // the library's threads would keep the program alive
    }

    /** Key and trust from the same store; what the store trusts is the server's own certificate, nothing else. */
    private static SSLContext sslContext(String path) throws Exception {
        char[] storePassword = password("CLIENT_KEYSTORE_PASSWORD");
        KeyStore store = KeyStore.getInstance("JKS");
        try (InputStream file = new FileInputStream(path)) {
            store.load(file, storePassword);
        }
        TrustManagerFactory trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        trust.init(store);
        KeyManagerFactory keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        keys.init(store, password("CLIENT_KEY_PASSWORD"));
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }

    private static char[] password(String variable) {
        String value = System.getenv(variable);
        return (value == null ? "password" : value).toCharArray();
    }

    private static void publish(BlockingConnection connection, String topic, String payload) throws Exception {
        connection.publish(topic, payload.getBytes(StandardCharsets.UTF_8), QoS.AT_LEAST_ONCE, false);
    }

    private static void print(String topic, String payload) {
        System.out.println("Topic: " + topic + "\nMessage: " + payload);
    }
}
